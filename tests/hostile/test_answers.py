"""What no request turns a poll into: a socket, or a script."""

from stage import Tidewire
from wire import Wire


def test_s32_only_get_opens_a_websocket(server: Tidewire) -> None:
    for method in ("POST", "PUT", "HEAD", "OPTIONS", "DELETE"):
        with Wire(server) as wire:
            wire.request(
                f"{method} /c/x",
                *("Connection: upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAECAwQFBgcICQoLDA0ODw=="),
            )
            assert wire.head().status != 101, method


def test_s44_a_poll_is_json_whatever_a_script_asks_for(server: Tidewire) -> None:
    """JSONP is not offered: what a page may not read it may not run either."""
    server.publish("x", "</script><script>alert(1)</script>")
    for query in ("callback=alert", "jsonp=alert", "cb=alert&format=jsonp", "wait=1&callback=alert&cursor=earliest"):
        for accept in ("application/javascript", "text/javascript", "*/*"):
            answer = server.client.get(f"/c/x?{query}", headers={"Accept": accept})
            assert answer.headers["content-type"] == "application/json" and answer.text.startswith('{"messages":')
            assert answer.headers["x-content-type-options"] == "nosniff"
