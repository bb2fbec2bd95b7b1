//! The one table of settings: parsing, messages and `docs/src/settings.md` all come from it.

/// One setting: a key of the environment and of the configuration file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The key.
    pub key: &'static str,
    /// What a value looks like, to follow "expected".
    pub expected: &'static str,
    /// The value when none is given; `None` leaves the setting unset.
    pub default: Option<&'static str>,
    /// A value that works.
    pub example: &'static str,
    /// Whether values may hold a secret: they are never shown then.
    pub secret: bool,
    /// What the setting does.
    pub meaning: &'static str,
}

macro_rules! settings {
    ($($group:literal: { $($name:ident = $key:literal, $expected:literal, $default:expr, $example:literal, $secret:ident, $meaning:literal;)* })*) => {
        $($(
            #[doc = $meaning]
            pub const $name: Setting = Setting {
                key: $key, expected: $expected, default: $default, example: $example, secret: settings!(@$secret), meaning: $meaning,
            };
        )*)*

        /// Every setting, in groups with their titles.
        pub const GROUPS: &[(&str, &[Setting])] = &[$(($group, &[$($name),*])),*];
    };
    (@secret) => { true };
    (@plain) => { false };
}

settings! {
    "Listening": {
        HOST = "HOST", "an IP address or `localhost`", Some("127.0.0.1"), "0.0.0.0", plain, "Address the server listens on. Off loopback every request needs an API key, but for health and metrics.";
        PORT = "PORT", "an integer from 0 to 65535", Some("8000"), "8000", plain, "TCP port the server listens on; 0 takes any free port.";
        ALLOW_INSECURE = "AOS_ALLOW_INSECURE", "`true` or `false`", Some("false"), "true", plain, "Ask nobody for an API key, on whatever address. Only behind something that authenticates.";
        TLS_CERT_FILE = "AOS_TLS_CERT_FILE", "the path of a readable file", None, "/run/secrets/tls.crt", plain, "Certificate (PEM, with those up to its authority's) to speak TLS with. Read again when it changes. Not set, the server speaks plain HTTP.";
        TLS_KEY_FILE = "AOS_TLS_KEY_FILE", "the path of a readable file", None, "/run/secrets/tls.key", plain, "Private key (PEM) of the certificate in `AOS_TLS_CERT_FILE`.";
        AUDIT_KEY_FILE = "AOS_AUDIT_KEY_FILE", "the path of a readable file", None, "/run/secrets/aos-audit.pem", plain, "Private key (Ed25519, PEM) with which this process signs checkpoints of the audit log; `openssl genpkey -algorithm ed25519` makes one. Not set, the log is a chain of hashes that nobody has signed.";
        DRAIN_DELAY = "AOS_DRAIN_DELAY", "an integer from 0 to 300", None, "5", plain, "Seconds for which a server that was asked to end goes on answering while `/health/ready` says that it is not ready, so that load balancers turn to others in time. Not set, it is 3 on Postgres and 0 on SQLite. Workers have none.";
    }
    "Data": {
        DATABASE_URL = "DATABASE_URL", "`sqlite://<path>` or `postgres://<user>:<password>@<host>:<port>/<database>`", Some("sqlite://aos-data/aos.db"), "postgres://nova@localhost:5433/nova_aos", secret, "Where runs, journals and the registry are kept. `sqlite://path` is relative to the working directory, `sqlite:///path` absolute; the file and its directory are created. A Postgres database is shared by as many processes as wanted; it must exist, and its tables are created. A pooler in transaction mode (PgBouncer) before it is noticed; `?pgbouncer=true` or `false` says instead whether there is one.";
        REDIS_URL = "REDIS_URL", "`redis://<host>:<port>`, `rediss://<host>:<port>` or `unix://<path>`", None, "redis://127.0.0.1:6379", secret, "Redis, by which several processes share rate limits and a cache and hear of each other's changes at once. Nothing is kept there: without it, and while it is away, the server works on. `redis://<user>:<password>@<host>:<port>/<number>` names a database too, and `rediss://` means TLS.";
    }
    "Models": {
        ANTHROPIC_API_KEY = "ANTHROPIC_API_KEY", "an API key", None, "sk-ant-…", secret, "Key for the Claude adapter. With a key, steps that name no adapter are answered by `claude`; without one there is no such adapter, and the `stub` answers.";
        ANTHROPIC_API_KEY_FILE = "ANTHROPIC_API_KEY_FILE", "the path of a readable file", None, "/run/secrets/anthropic", plain, "File that holds the key; read again when it changes, so that a key is replaced without a restart. Several keys stand on a line each, if need be with a space and a weight after them (`sk-ant-… 3`): requests are shared out in proportion. Not together with `ANTHROPIC_API_KEY`.";
        ANTHROPIC_BASE_URL = "ANTHROPIC_BASE_URL", "an http or https URL without user, query or fragment", Some("https://api.anthropic.com"), "https://api.anthropic.com", plain, "Where the Claude adapter sends requests and the key, and nowhere else.";
        OPENAI_BASE_URL = "OPENAI_BASE_URL", "an http or https URL without user, query or fragment", None, "http://127.0.0.1:11434/v1", plain, "A server that speaks OpenAI's chat completions (vLLM, Ollama, llama.cpp, OpenAI): there is an adapter `openai` then, for steps that name it. Requests and the key go there and nowhere else. Not set, it is `https://api.openai.com/v1` when there is a key.";
        OPENAI_API_KEY = "OPENAI_API_KEY", "an API key", None, "sk-…", secret, "Key for the adapter `openai`, for servers that want one.";
        OPENAI_API_KEY_FILE = "OPENAI_API_KEY_FILE", "the path of a readable file", None, "/run/secrets/openai", plain, "File that holds the key or keys, as `ANTHROPIC_API_KEY_FILE` does. Not together with `OPENAI_API_KEY`.";
        DISABLE_LIVE_ADAPTERS = "DISABLE_LIVE_ADAPTERS", "`true` or `false`", Some("false"), "true", plain, "Take live model adapters away: a step that names one gets `ERR_LLM_ADAPTER_DISABLED`.";
        FORCE_STUB_ADAPTER = "FORCE_STUB_ADAPTER", "`true` or `false`", Some("false"), "true", plain, "Send every model call to the deterministic stub.";
        RATE_LIMIT_RPM = "CLAUDE_RATE_LIMIT_RPM", "an integer from 1 to 10000000", Some("60"), "60", plain, "Requests to Claude per minute.";
        PRICES = "AOS_PRICES", "the path of a readable JSON file with prices", None, "/etc/aos/prices.json", plain, "Price book: its models are added to those that come with this release, or replace them. Read at the start.";
        RATE_LIMIT_TPM = "CLAUDE_RATE_LIMIT_TPM", "an integer from 1 to 10000000000", Some("100000"), "100000", plain, "Tokens to and from Claude per minute.";
        RATE_LIMIT_ITPM = "CLAUDE_RATE_LIMIT_ITPM", "an integer from 1 to 10000000000", None, "80000", plain, "Tokens to Claude per minute, beside the limit of all tokens. Not set, there is no such limit.";
        RATE_LIMIT_OTPM = "CLAUDE_RATE_LIMIT_OTPM", "an integer from 1 to 10000000000", None, "20000", plain, "Tokens from Claude per minute, beside the limit of all tokens. Not set, there is no such limit.";
    }
    "Running": {
        WORKER_CONCURRENCY = "WORKER_CONCURRENCY", "an integer from 0 to 10000", Some("64"), "64", plain, "Runs that one process advances at the same time. With 0 a server only answers requests, and workers elsewhere advance the runs.";
        LEASE = "AOS_LEASE", "an integer from 1 to 3600", Some("10"), "30", plain, "Seconds after which the runs of a process that is not heard of are another's. Prolonged three times in that time; the same in every process.";
        MAX_QUEUED = "AOS_MAX_QUEUED", "an integer from 0 to 1000000000", Some("100000"), "20000", plain, "Runs that may be queued; beyond that `POST /v1/runs` answers 429 with `ERR_QUEUE_FULL` and `Retry-After`. 0 for no bound. The queue is counted once a second, so a burst may pass the bound a little.";
        HTTP_ALLOW = "AOS_HTTP_ALLOW", "hosts, host:port pairs and CIDR ranges, separated by commas", None, "127.0.0.1:9000,10.0.0.0/8,*.internal.example", plain, "What the skills `http_call` and `http_call_once` may reach although it is not a public address.";
    }
    "Logs and traces": {
        LOG_LEVEL = "LOG_LEVEL", "`error`, `warn`, `info`, `debug`, `trace` or `off`, or filter directives such as `info,aos_server=debug`", Some("info"), "debug", plain, "What is logged; letter case does not matter.";
        LOG_FORMAT = "LOG_FORMAT", "`text` or `json`", Some("text"), "json", plain, "Form of a log line: `json` is one flat object a line on standard output, `text` is for people, on standard error.";
        LOG_FILE = "LOG_FILE", "a path", None, "/var/log/aos/backend.log", plain, "Log to this file (appended to) as well, always as text: `grep request_id=… <file>` finds what a request did. When it is renamed or deleted (`logrotate`), a new one is begun.";
        LOG_SKILL_PARAMS = "LOG_SKILL_PARAMS", "`true` or `false`", Some("false"), "true", plain, "Log inputs and outputs of skills, at level `debug`. Known forms of secrets are taken out; personal data is not, and a warning says so at the start.";
        OTEL_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT", "an http or https URL without user, query or fragment", None, "http://127.0.0.1:4318", plain, "OTLP collector for traces: spans of requests, runs, skills and model calls go to `/v1/traces` there. What it does not take in time is dropped. `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_EXPORTER_OTLP_HEADERS` of the environment work as everywhere.";
        OTEL_SHARE = "OTEL_TRACES_SAMPLER_ARG", "a number from 0 to 1", Some("1"), "0.1", plain, "Share of the traces begun here that is sent. A request that comes with a `traceparent` is traced if that says so.";
    }
    "Client and files": {
        CONFIG = "AOS_CONFIG", "the path of a TOML file", None, "/etc/aos/aos.toml", plain, "File with the same keys as this page, `KEY = value` each. The environment wins over the file, flags win over both.";
        URL = "AOS_URL", "an http or https URL without user, query or fragment", Some("http://127.0.0.1:8000"), "https://aos.internal.example", plain, "Server that `runs` and the other client commands talk to.";
        API_KEY = "AOS_API_KEY", "an API key", None, "aos_1f0a9c33d2b84e57_", secret, "Key that client commands send to it; see `aos-server keys`.";
    }
}

/// Every setting.
pub fn all() -> impl Iterator<Item = &'static Setting> {
    GROUPS.iter().flat_map(|(_, settings)| settings.iter())
}

/// The setting with this key.
pub fn find(key: &str) -> Option<&'static Setting> {
    all().find(|setting| setting.key == key)
}

/// The known key that `key` was probably meant to be.
pub fn nearest(key: &str) -> Option<&'static str> {
    all()
        .map(|setting| (strsim::damerau_levenshtein(setting.key, &key.to_ascii_uppercase()), setting.key))
        .min()
        .filter(|(distance, known)| distance * 3 <= known.len())
        .map(|(_, known)| known)
}
