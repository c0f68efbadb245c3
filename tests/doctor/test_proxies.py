"""What `doctor` says through a real nginx, HAProxy and Caddy: nothing where they were told what we recommend; where they
were told otherwise the finding that names it, and lines which, written as they are said, make it vanish."""

import pytest
from patient import Ill, Report, Stage, doctor

LOCATION, SERVER, FRONTEND, BACKEND, PROXY = "proxy_pass ", "listen ", "bind ", "balance ", "reverse_proxy "
IDLE = ("--idle", "4s")

ILLS = [
    # With HTTP/1.1 behind it, nginx passes on what it has; with HTTP/1.0, which it speaks unless told otherwise, it waits.
    Ill("stream_buffered", "nginx", "proxy_ignore_headers X-Accel-Buffering;", [LOCATION], lacks="proxy_http_version"),
    Ill("stream_compressed", "nginx", "gzip on; gzip_types text/event-stream; gzip_proxied any;", [LOCATION]),
    Ill("upgrade_lost", "nginx", at=[LOCATION], lacks="proxy_http_version|Upgrade|Connection .tidewire"),
    Ill("stream_cut", "nginx", "proxy_read_timeout 1500ms;", [LOCATION], lacks="proxy_read_timeout", args=IDLE),
    Ill("socket_cut", "nginx", "proxy_read_timeout 1500ms;", [LOCATION], lacks="proxy_read_timeout", args=IDLE),
    Ill("poll_cut", "nginx", "proxy_read_timeout 1500ms;", [LOCATION], lacks="proxy_read_timeout"),
    Ill("body_too_large", "nginx", "client_max_body_size 1k;", [LOCATION]),
    Ill(
        "cached",
        "nginx",
        "proxy_cache kept; proxy_cache_valid 200 10s; proxy_ignore_headers Cache-Control Vary X-Accel-Buffering;",
        [LOCATION],
        before="proxy_cache_path FOLDER/kept keys_zone=kept:1m;\n",
    ),
    Ill("head_too_large", "nginx", "large_client_header_buffers 2 1k;", [SERVER]),
    Ill("last_event_id_lost", "nginx", 'proxy_set_header Last-Event-ID "";', [LOCATION]),
    Ill("query_lost", "nginx", "proxy_pass http://tidewire$uri;", ["location / "], lacks="proxy_pass http"),
    Ill("etag_lost", "nginx", "proxy_hide_header ETag;", [LOCATION]),
    Ill("cache_control_lost", "nginx", "expires 60s;", [LOCATION]),
    Ill("host_refused", "nginx", at=[LOCATION], lacks="proxy_set_header Host"),
    Ill("publish_lost", "nginx", "limit_except GET { deny all; }", [LOCATION]),
    Ill("path_lost", "nginx", "return 404;", ["location / "], lacks="proxy_pass http"),
    Ill(
        "cors_doubled",
        "nginx",
        "add_header Access-Control-Allow-Origin *;",
        [LOCATION],
        args=("--quick", "--origin", "http://localhost:3000"),
    ),
    Ill("stream_delayed", "haproxy", at=[FRONTEND, BACKEND], lacks="http-no-delay"),
    Ill("stream_cut", "haproxy", "timeout server 1500ms", [BACKEND], lacks="timeout server", args=IDLE),
    Ill("poll_cut", "haproxy", "timeout server 1500ms", [BACKEND], lacks="timeout server"),
    Ill("socket_cut", "haproxy", "timeout tunnel 1500ms", [BACKEND], lacks="timeout tunnel", args=IDLE),
    Ill("upgrade_lost", "haproxy", "http-request del-header Upgrade", [BACKEND]),
    Ill("publish_lost", "haproxy", "http-request deny if METH_POST", [BACKEND]),
    Ill("last_event_id_lost", "haproxy", "http-request del-header Last-Event-ID", [BACKEND]),
    Ill("head_too_large", "haproxy", "tune.bufsize 4096", ["maxconn"], in_global=True),
    # By itself Caddy compresses nothing that says `no-transform`, nor what begins small.
    Ill(
        "compression_holds",
        "caddy",
        "\tencode {\n\t\tgzip\n\t\tminimum_length 1\n\t\tmatch {\n\t\t\theader Content-Type text/event-stream*\n\t\t}\n\t}",
        ["http://"],
        also=[(PROXY, "\t\theader_down -Cache-Control")],
    ),
    Ill("stream_type", "caddy", "\t\theader_down Content-Type text/plain", [PROXY]),
    Ill("stream_buffered", "caddy", "\t\tbuffer_responses", [PROXY], lacks="flush_interval"),
    Ill("body_too_large", "caddy", "\trequest_body {\n\t\tmax_size 1KB\n\t}", ["http://"]),
    Ill("last_event_id_lost", "caddy", "\t\theader_up -Last-Event-ID", [PROXY]),
    Ill("upgrade_lost", "caddy", "\t\theader_up Connection close\n\t\theader_up -Upgrade", [PROXY]),
]



class Recommended:
    """A proxy that was told what `tidewire proxy-config` prints, and how thoroughly it is looked at."""

    def __init__(self, name: str, *args: str) -> None:
        self.name, self.args = name, args

    def __str__(self) -> str:
        return self.name

    def look(self) -> Report:
        with Stage() as stage:
            return doctor(stage.behind(stage.serve(), self.name).url, *self.args)


# The one that takes longest begins first: with heartbeats of the default length.
RECOMMENDED = [Recommended("nginx"), Recommended("haproxy", "--quick"), Recommended("caddy", "--quick")]


@pytest.mark.parametrize("front", RECOMMENDED, ids=str)
def test_what_we_recommend_has_nothing_wrong(looks, front):
    report = looks(front.look)
    assert (report.codes, report.code) == ([], 0), report.said
    if not front.args:
        assert "heartbeat" in report.words("quiet stream"), report.said
        assert "open after 32" in report.words("quiet WebSocket"), report.said
        assert "held for 25" in report.words("long poll"), report.said
        assert report.said["took_ms"] <= 45_000


@pytest.mark.parametrize("ill", ILLS, ids=str)
def test_what_a_proxy_was_told_wrong_is_found_and_the_line_that_is_said_mends_it(looks, ill):
    before, then = looks(ill.look)
    assert before.code == 1
    assert ill.code in before.codes
    assert ill.code not in then.codes, then.said
