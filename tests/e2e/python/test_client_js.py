"""`/client.js`: the browser client, as the repository has it, with what browsers and caches have to know."""

from pathlib import Path

import pytest

ARTEFACT = Path(__file__).parents[3] / "clients/js/dist/client.js"


def test_the_client_is_the_one_that_was_built(server):
    answer = server.client.get("/client.js")
    assert answer.status_code == 200
    assert answer.content == ARTEFACT.read_bytes()
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
    assert answer.headers["cache-control"] == "public, max-age=600, stale-while-revalidate=86400"
    assert answer.headers["vary"] == "Origin"


def test_a_head_says_the_same_without_the_script(server):
    whole, head = server.client.get("/client.js"), server.client.head("/client.js")
    assert (head.status_code, head.content) == (200, b"")
    for name in ["content-length", "content-type", "etag", "cache-control"]:
        assert head.headers[name] == whole.headers[name], name


def test_whoever_has_it_is_not_sent_it_again(server):
    etag = server.client.get("/client.js").headers["etag"]
    for tags in [etag, f'"other", W/{etag}', "*"]:
        answer = server.client.get("/client.js", headers={"If-None-Match": tags})
        assert (answer.status_code, answer.content) == (304, b""), tags
        assert answer.headers["etag"] == etag
    assert server.client.get("/client.js", headers={"If-None-Match": '"another"'}).status_code == 200


def test_a_module_of_an_allowed_origin_may_load_it_and_others_may_not(server):
    origin = "http://localhost:5173"
    answer = server.client.get("/client.js", headers={"Origin": origin})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, origin)
    assert server.client.get("/client.js", headers={"Origin": "http://evil.example"}).status_code == 403


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_it_is_there_to_be_read(server, method):
    answer = server.client.request(method, "/client.js")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET,HEAD"
