//! The values of the files in `nginx/` fit those of the API.

use std::time::Duration;

use assize::api::Timeouts;
use assize_config::Config;
use serde_json::Value;

fn file(name: &str) -> String {
    std::fs::read_to_string(format!("nginx/{name}")).unwrap()
}

/// The values of a directive, in the order of the file; comments do not count.
fn values(text: &str, directive: &str) -> Vec<String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    let rest = lines.filter_map(|line| line.strip_prefix(directive)?.strip_prefix(' '));
    rest.map(|rest| rest.trim_end_matches(';').to_owned()).collect()
}

/// The number before a unit.
fn number(value: &str) -> u64 {
    let digits: String = value.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_else(|_| panic!("{value:?} is no number"))
}

fn times(text: &str, directive: &str) -> Vec<Duration> {
    let values = values(text, directive);
    assert!(!values.is_empty(), "there is no {directive}");
    values
        .iter()
        .map(|value| {
            assert!(value.ends_with('s') && !value.ends_with("ms"), "{directive} {value}");
            Duration::from_secs(number(value))
        })
        .collect()
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn nginx_is_patient_where_the_api_answers_and_quick_where_the_api_closes() {
    let (text, api) = (file("assize.conf"), Timeouts::default());
    // The first is that of the connections to the API, the second that of clients.
    let [upstream, _] = times(&text, "keepalive_timeout")[..] else { panic!("keepalive_timeout") };
    assert!(upstream + SECOND < api.head, "nginx uses connections that the API closes");
    let [_, upload] = times(&text, "client_body_timeout")[..] else { panic!("client_body_timeout") };
    assert!(upload > api.upload_idle + SECOND, "the API cannot answer 408 any more");
    let [other, upload] = times(&text, "proxy_read_timeout")[..] else { panic!("proxy_read_timeout") };
    assert!(upload > api.request + SECOND, "the API cannot answer 503 any more");
    let document: Value = serde_json::from_str(&std::fs::read_to_string("docs/openapi.json").unwrap()).unwrap();
    let parameters = document["paths"]["/v1/runs/{id}"]["get"]["parameters"].as_array().unwrap();
    let wait = parameters.iter().find(|parameter| parameter["name"] == "wait").unwrap();
    let wait = Duration::from_secs(wait["schema"]["maximum"].as_u64().unwrap());
    assert!(other > wait + SECOND, "a wait is cut off");
    assert_eq!(times(&text, "client_header_timeout"), [api.head]);
    assert_eq!(times(&text, "send_timeout"), [api.unread]);
    assert!(times(&file("nginx.conf"), "worker_shutdown_timeout")[0] > api.upload, "a reload cuts off uploads");
}

#[test]
fn nginx_limits_later_than_the_api_and_has_room_for_what_the_api_accepts() {
    let (text, config) = (file("assize.conf"), Config::default());
    let after = |text: &str, name: &str| number(text.split(name).nth(1).unwrap());
    let rate = after(&values(&text, "limit_req_zone")[0], "rate=");
    assert!(rate > u64::from(config.rate_per_address), "{rate}");
    let burst = after(&values(&text, "limit_req")[0], "burst=");
    assert!(burst > u64::from(config.rate_per_address * config.constants.rate_burst_s), "{burst}");
    let in_progress = after(&values(&text, "limit_conn")[0], "assize_in_progress ");
    assert!(in_progress >= u64::from(config.max_open_requests_per_key), "{in_progress}");
    let main = file("nginx.conf");
    let connections = number(&values(&main, "worker_connections")[0]);
    assert!(connections > 2 * u64::from(config.max_connections), "{connections}");
    assert!(number(&values(&main, "worker_rlimit_nofile")[0]) > connections + 1024);
    let servers: Vec<_> = values(&text, "server").into_iter().filter(|value| value != "{").collect();
    assert_eq!(servers, vec![format!("{} max_fails=0", config.api_listen); 2]);
    // A body that nginx holds is at most what the API accepts beside an archive, and fits into its buffer.
    assert_eq!(values(&text, "client_max_body_size"), ["64k", "0"]);
    assert_eq!(values(&text, "client_body_buffer_size"), ["64k", "512k"]);
}
