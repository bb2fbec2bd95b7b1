//! The `Dockerfile`.

use aos_server::server::Role;

use crate::support::{Environment, config, read};

/// The words after an instruction.
fn instruction(name: &str) -> String {
    let text = read("Dockerfile").replace("\\\n", " ");
    let line = text.lines().rfind(|line| line.starts_with(&format!("{name} "))).map(str::to_owned);
    line.unwrap_or_else(|| panic!("no {name}"))[name.len() + 1..].to_owned()
}

#[test]
fn the_image_s_environment_is_one_that_a_server_starts_in() {
    let env = instruction("ENV");
    let environment: Environment =
        env.split_whitespace().map(|pair| pair.split_once('=').unwrap()).map(|(k, v)| (k.into(), v.into())).collect();
    let config = config(Role::Serve, &environment);
    assert_eq!(config.listen.port.to_string(), instruction("EXPOSE"));
    let place = instruction("VOLUME");
    assert!(environment["DATABASE_URL"].starts_with(&format!("sqlite://{place}/")), "{place}");
}

#[test]
fn the_image_is_not_root_s_and_ends_in_order() {
    assert_eq!(instruction("ENTRYPOINT"), r#"["aos-server"]"#);
    assert_eq!(instruction("STOPSIGNAL"), "SIGTERM");
    let user = instruction("USER");
    assert!(user.split(':').all(|id| id.parse::<u32>().is_ok_and(|id| id > 0)), "{user}");
    assert!(instruction("HEALTHCHECK").contains("GET /health/ready "));
    for place in ["/var/lib/aos", "/var/log/aos"] {
        assert!(instruction("RUN").contains(place), "{place} is not the user's");
    }
}
