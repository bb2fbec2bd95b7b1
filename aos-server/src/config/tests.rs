//! What settings become, and how wrong ones are refused.

use aos_core::limiter::RateLimits;

use super::*;
use crate::telemetry::log::LogFormat;

fn sources(environment: &[(&str, &str)]) -> Sources {
    let environment = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Sources { environment, ..Sources::default() }
}

fn load(environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
    Config::load(&sources(environment))
}

fn only_problem(environment: &[(&str, &str)]) -> Problem {
    let problems = load(environment).unwrap_err().0;
    assert_eq!(problems.len(), 1, "{problems:?}");
    problems.into_iter().next().unwrap()
}

#[test]
fn nothing_set_gives_the_defaults() {
    let config = load(&[("PATH", "/bin"), ("HOST", ""), ("PORT", " ")]).unwrap();
    assert_eq!(config.listen.address().to_string(), "127.0.0.1:8000");
    assert_eq!(config.database, Database::Sqlite("aos-data/aos.db".into()));
    assert_eq!(config.claude.limits(), RateLimits::new(60, 100_000));
    assert_eq!(config.claude.base_url.as_str(), "https://api.anthropic.com/");
    assert_eq!((config.claude.api_key, config.switches), (None, AdapterSwitches::default()));
    assert_eq!((config.log.filter.as_str(), config.log.format), ("info", LogFormat::Text));
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
}

#[test]
fn values_that_are_right_are_taken() {
    for (key, value) in [
        ("HOST", "localhost"),
        ("HOST", "::1"),
        ("HOST", "[::1]"),
        ("PORT", "0"),
        ("PORT", "65535"),
        ("DATABASE_URL", "sqlite:///var/lib/aos/aos.db"),
        ("DATABASE_URL", "sqlite:aos.db"),
        ("DATABASE_URL", "postgres://nova@localhost:5433/nova_aos"),
        ("DATABASE_URL", "postgresql://u:p%40ss@[::1]/aos?sslmode=require"),
        ("REDIS_URL", "redis://127.0.0.1"),
        ("REDIS_URL", "redis://:p%40ss@[::1]:6380/3"),
        ("REDIS_URL", "rediss://nova:secret@cache.internal"),
        ("REDIS_URL", "unix:///run/redis/redis.sock?db=1"),
        ("DISABLE_LIVE_ADAPTERS", "TRUE"),
        ("FORCE_STUB_ADAPTER", "1"),
        ("LOG_LEVEL", "DEBUG"),
        ("LOG_LEVEL", "info,aos_server=debug"),
        ("LOG_FORMAT", "JSON"),
        ("ANTHROPIC_BASE_URL", "http://127.0.0.1:9999/proxy"),
        ("OPENAI_BASE_URL", "http://127.0.0.1:11434/v1"),
        ("OPENAI_API_KEY", "sk-1"),
        ("AOS_HTTP_ALLOW", "127.0.0.1:9000, 10.0.0.0/8"),
        ("WORKER_CONCURRENCY", "1"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318"),
        ("OTEL_TRACES_SAMPLER_ARG", "0.05"),
    ] {
        assert_eq!(load(&[(key, value)]).err(), None, "{key}={value}");
    }
    assert_eq!(load(&[("DATABASE_URL", "sqlite:///x/y.db")]).unwrap().database, Database::Sqlite("/x/y.db".into()));
}

#[test]
fn values_that_are_wrong_are_named_with_an_example() {
    for (key, value, says) in [
        ("HOST", "example.com", "\"example.com\" is not an IP address"),
        ("PORT", "80000", "\"80000\" is not an integer from 0 to 65535"),
        ("PORT", "-1", "is not an integer"),
        ("PORT", "8000x", "is not an integer"),
        ("DATABASE_URL", "postgres://u:hunter2@db", "lacks a host or a database"),
        ("DATABASE_URL", "postgresql:///aos", "lacks a host or a database"),
        ("DATABASE_URL", "postgres://u:hunter2@db:port/aos", "is not a URL"),
        ("DATABASE_URL", "mysql://u:hunter2@db/aos", "not `sqlite://<path>`"),
        ("DATABASE_URL", "sqlite::memory:", "loses acknowledged runs"),
        ("DATABASE_URL", "sqlite://", "names no file"),
        ("DATABASE_URL", "sqlite://a.db?mode=ro", "no options"),
        ("DATABASE_URL", "/plain/path", "not `sqlite://<path>`"),
        ("REDIS_URL", "hunter2", "not `redis://<host>:<port>`"),
        ("REDIS_URL", "http://:hunter2@cache", "not `redis://<host>:<port>`"),
        ("REDIS_URL", "redis://:hunter2@cache:port", "is not a URL"),
        ("REDIS_URL", "redis://:hunter2@cache/hunter2", "invalid database number"),
        ("REDIS_URL", "redis:///0", "missing hostname"),
        ("REDIS_URL", "rediss://:hunter2@cache#insecure", "has a fragment"),
        ("REDIS_URL", "unix://hunter2", "missing path"),
        ("ANTHROPIC_API_KEY", "sk hunter2", "not an API key"),
        ("ANTHROPIC_API_KEY_FILE", "/does/not/exist", "can't be read"),
        ("ANTHROPIC_BASE_URL", "api.anthropic.com", "not an http or https URL"),
        ("ANTHROPIC_BASE_URL", "https://u:p@api.anthropic.com", "not an http or https URL"),
        ("OPENAI_API_KEY", "sk hunter2", "not an API key"),
        ("OPENAI_API_KEY_FILE", "/does/not/exist", "can't be read"),
        ("OPENAI_BASE_URL", "localhost:11434", "not an http or https URL"),
        ("DISABLE_LIVE_ADAPTERS", "maybe", "is not `true` or `false`"),
        ("FORCE_STUB_ADAPTER", "2", "is not `true` or `false`"),
        ("CLAUDE_RATE_LIMIT_RPM", "0", "integer from 1"),
        ("CLAUDE_RATE_LIMIT_TPM", "1.5", "integer from 1"),
        ("CLAUDE_RATE_LIMIT_ITPM", "0", "integer from 1"),
        ("CLAUDE_RATE_LIMIT_OTPM", "-1", "integer from 1"),
        ("LOG_LEVEL", "loud", "is not `error`"),
        ("LOG_LEVEL", "aos=loud", "is not `error`"),
        ("LOG_FORMAT", "xml", "is not `text` or `json`"),
        ("LOG_SKILL_PARAMS", "ja", "is not `true` or `false`"),
        ("OTEL_TRACES_SAMPLER_ARG", "10%", "is not a number from 0 to 1"),
        ("WORKER_CONCURRENCY", "10001", "integer from 0 to 10000"),
        ("AOS_LEASE", "0", "integer from 1 to 3600"),
        ("AOS_DRAIN_DELAY", "5s", "integer from 0 to 300"),
        ("AOS_HTTP_ALLOW", "http://x", "leave the scheme away"),
        ("AOS_URL", "localhost:8000", "not an http or https URL"),
        ("AOS_API_KEY", "two words", "the value is not an API key"),
        ("AOS_CONFIG", "/does/not/exist.toml", "can't be read"),
    ] {
        let problem = only_problem(&[(key, value)]);
        assert_eq!(problem.key, key);
        assert!(problem.fault.contains(says), "{key}={value}: {}", problem.fault);
        assert!(problem.example.as_ref().is_some_and(|line| line.starts_with(&format!("{key}="))), "{problem}");
        assert!(!problem.to_string().contains("hunter2"), "{problem}");
    }
}

#[test]
fn every_wrong_setting_is_named_at_once() {
    let error = load(&[("PORT", "x"), ("LOG_LEVEL", "x"), ("FORCE_STUB_ADAPTER", "x"), ("HOST", "x")]).unwrap_err();
    let keys: Vec<_> = error.0.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(keys, ["HOST", "PORT", "FORCE_STUB_ADAPTER", "LOG_LEVEL"]);
    let text = error.to_string();
    assert!(text.starts_with("4 settings are wrong:\n  HOST (environment): "), "{text}");
    let failure = aos_core::Failure::from(error);
    assert_eq!(
        (failure.code, failure.details["problems"].as_array().map(Vec::len)),
        (aos_core::codes::INVALID_SETTING, Some(4))
    );
}

#[test]
fn settings_that_do_not_matter_do_not_stop_a_command() {
    let wrong = sources(&[("HOST", "0.0.0.0"), ("PORT", "x"), ("AOS_URL", "http://10.0.0.1:8000/aos")]);
    assert!(Config::load(&wrong.clone().without(&[table::HOST, table::PORT])).is_ok());
    assert_eq!(Config::load_client(&wrong).unwrap().url.as_str(), "http://10.0.0.1:8000/aos");
    assert_eq!(Config::load_client(&sources(&[("AOS_URL", "x"), ("PORT", "x")])).unwrap_err().0.len(), 1);
}

#[test]
fn who_needs_a_key_goes_by_the_address_unless_said() {
    for (host, insecure, expected) in [
        ("127.0.0.1", "false", Access::KeysIfAny),
        ("::1", "false", Access::KeysIfAny),
        ("::ffff:127.0.0.1", "false", Access::KeysIfAny),
        ("localhost", "false", Access::KeysIfAny),
        ("0.0.0.0", "false", Access::Keys),
        ("::", "false", Access::Keys),
        ("10.0.0.7", "false", Access::Keys),
        ("0.0.0.0", "true", Access::Open),
        ("127.0.0.1", "true", Access::Open),
    ] {
        let config = load(&[("HOST", host), ("AOS_ALLOW_INSECURE", insecure)]).unwrap();
        assert_eq!(config.listen.access, expected, "{host} {insecure}");
    }
}

#[test]
fn misspelt_keys_are_warnings_with_the_nearest_key() {
    let config = load(&[
        ("AOS_HTTP_ALOW", "x"),
        ("AOS_COMPLETELY_DIFFERENT", "x"),
        ("DISABLE_LIVE_ADAPTER", "true"),
        ("AOS_BLESS", "1"),
        ("HOSTS", "x"),
        ("HOSTNAME", "x"),
    ])
    .unwrap();
    assert_eq!(
        config.warnings,
        [
            "AOS_COMPLETELY_DIFFERENT is set, and there is no such setting",
            "AOS_HTTP_ALOW is set, and there is no such setting; did you mean AOS_HTTP_ALLOW?",
            "DISABLE_LIVE_ADAPTER is set, and there is no such setting; did you mean DISABLE_LIVE_ADAPTERS?",
        ]
    );
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("aos.toml");
    std::fs::write(
        &path,
        "PORT = 1\nLOG_LEVEL = 'debug'\nFORCE_STUB_ADAPTER = true\nAOS_HTTP_ALLOW = ['a.b', '10.0.0.0/8']\n",
    )
    .unwrap();
    let config = path.to_str().unwrap();
    let from_file = load(&[("AOS_CONFIG", config)]).unwrap();
    assert_eq!(
        (from_file.listen.port, from_file.log.filter.as_str(), from_file.switches.force_stub),
        (1, "debug", true)
    );
    assert_eq!(from_file.worker.http_allow, crate::skill::http_call::AllowList::parse("a.b,10.0.0.0/8").unwrap());
    assert_eq!(load(&[("AOS_CONFIG", config), ("PORT", "2")]).unwrap().listen.port, 2);
    let flagged = sources(&[("AOS_CONFIG", config), ("PORT", "2")]).flag(&table::PORT, Some(3));
    assert_eq!(Config::load(&flagged).unwrap().listen.port, 3);
    let wrong = sources(&[]).flag(&table::PORT, Some("x"));
    assert_eq!(Config::load(&wrong).unwrap_err().0[0].origin, Origin::Flag);
}

#[test]
fn a_wrong_file_is_explained() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("aos.toml");
    for (text, says) in [
        ("PORT = 'x'", "\"x\" is not an integer from 0 to 65535; for example PORT = \"8000\""),
        ("PROT = 1", "PROT ("),
        ("PROT = 1", "did you mean PORT?"),
        ("[PORT]\nx = 1", "found table"),
        ("PORT = 1.5", "found float"),
        ("AOS_HTTP_ALLOW = [1]", "found array"),
        ("PORT 1", "is not TOML"),
        ("AOS_CONFIG = 'other.toml'", "no such setting"),
    ] {
        std::fs::write(&path, text).unwrap();
        let error = load(&[("AOS_CONFIG", path.to_str().unwrap())]).unwrap_err().to_string();
        assert!(error.contains(says), "{text}: {error}");
    }
    std::fs::write(&path, [0xff, 0xfe, 0x00]).unwrap();
    assert!(load(&[("AOS_CONFIG", path.to_str().unwrap())]).unwrap_err().to_string().contains("can't be read"));
}

#[test]
fn a_key_file_holds_keys() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    let file = path.to_str().unwrap();
    for text in ["sk-ant-hunter2", "sk-ant-hunter2\n", "one\ntwo 3\n\n  three 1000\r\n"] {
        std::fs::write(&path, text).unwrap();
        let config = load(&[("ANTHROPIC_API_KEY_FILE", file), ("OPENAI_API_KEY_FILE", file)]).unwrap();
        assert_eq!(config.claude.api_key, Some(KeySource::File(path.clone())));
        assert_eq!(config.openai.api_key, Some(KeySource::File(path.clone())));
    }
    for key in ["ANTHROPIC_API_KEY", "OPENAI_API_KEY"] {
        let key_file = format!("{key}_FILE");
        assert!(only_problem(&[(&key_file, file), (key, "k")]).fault.contains("keep one"));
    }
    for text in ["", "\n \n", "two\nkeys hunter2", "hunter2 0", "hunter2 1001", "hunter2 1 1", "hünter2"] {
        std::fs::write(&path, text).unwrap();
        let fault = only_problem(&[("ANTHROPIC_API_KEY_FILE", file)]).fault;
        assert!(fault.contains("one key on each line") && !fault.contains("hunter2"), "{text:?}: {fault}");
    }
}

#[test]
fn an_openai_adapter_needs_a_place_or_a_key() {
    let base_url = |environment: &[(&str, &str)]| load(environment).unwrap().openai.base_url.map(String::from);
    assert_eq!(base_url(&[]), None);
    assert_eq!(base_url(&[("OPENAI_API_KEY", "k")]).as_deref(), Some("https://api.openai.com/v1"));
    assert_eq!(base_url(&[("OPENAI_BASE_URL", "http://localhost:1/v1")]).as_deref(), Some("http://localhost:1/v1"));
}

#[test]
fn prices_are_those_of_the_release_and_of_a_file() {
    let builtin = PriceBook::builtin().unwrap();
    assert_eq!(load(&[]).unwrap().prices, builtin);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("prices.json");
    let file = path.to_str().unwrap();
    let row = r#"{"input": "1", "output": "2", "cache_write_5m": "1", "cache_write_1h": "1", "cache_read": "0"}"#;
    std::fs::write(&path, format!(r#"{{"models": {{"ours": [{row}]}}}}"#)).unwrap();
    let prices = load(&[("AOS_PRICES", file)]).unwrap().prices;
    assert_eq!(prices.models().count(), builtin.models().count() + 1);
    std::fs::write(&path, r#"{"models": {"ours": [{"input": 1}], "theirs": []}}"#).unwrap();
    let fault = only_problem(&[("AOS_PRICES", file)]).fault;
    assert!(fault.contains("/models/ours/0/input: found 1") && fault.contains("/models/theirs"), "{fault}");
    assert!(only_problem(&[("AOS_PRICES", "/does/not/exist")]).fault.contains("can't be read"));
}

#[test]
fn a_configuration_prints_no_secret() {
    let config = load(&[
        ("ANTHROPIC_API_KEY", "sk-ant-hunter2"),
        ("OPENAI_API_KEY", "sk-hunter2"),
        ("REDIS_URL", "redis://:hunter2@127.0.0.1"),
    ])
    .unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn settings_page_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/src/settings.md");
    if std::env::var_os("AOS_BLESS").is_some() {
        std::fs::write(path, settings_page()).unwrap();
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(found, settings_page(), "run AOS_BLESS=1 cargo test -p aos-server settings_page");
}

#[test]
fn defaults_and_examples_are_values_that_work() {
    for setting in table::all() {
        assert!(setting.meaning.ends_with('.') && !setting.expected.is_empty(), "{}", setting.key);
        assert!(table::find(setting.key).is_some_and(|found| found == setting), "{} twice", setting.key);
        // These name files, or are cut short.
        if !matches!(
            setting.key,
            "AOS_CONFIG"
                | "AOS_PRICES"
                | "ANTHROPIC_API_KEY_FILE"
                | "ANTHROPIC_API_KEY"
                | "OPENAI_API_KEY_FILE"
                | "OPENAI_API_KEY"
                | "AOS_AUDIT_KEY_FILE"
                | "AOS_TLS_CERT_FILE"
                | "AOS_TLS_KEY_FILE"
        ) {
            assert_eq!(load(&[(setting.key, setting.example)]).err(), None, "{}", setting.key);
        }
    }
}

proptest::proptest! {
    #[test]
    fn any_value_of_any_setting_is_taken_or_named(index in 0..table::all().count(), value in "\\PC{0,40}") {
        let setting = table::all().nth(index).unwrap();
        if let Err(error) = load(&[(setting.key, &value)]) {
            assert!(error.0.iter().all(|problem| problem.key == setting.key), "{error}");
        }
    }

    #[test]
    fn any_file_is_taken_or_explained(text in "\\PC{0,120}") {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("aos.toml");
        std::fs::write(&path, &text).unwrap();
        let _ = load(&[("AOS_CONFIG", path.to_str().unwrap())]);
    }
}
