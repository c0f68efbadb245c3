"""Publishes a message and prints its id: python3 publish.py CHANNEL EVENT DATA KEY"""

import http.client
import json
import os
import random
import sys
import time
from urllib.parse import quote, urlsplit

ATTEMPT_S = 5
TOTAL_S = 30
BACKOFF_MAX_S = 4


class PublishError(Exception):
    """The message was refused, or nobody answered in time."""


def publish(channel: str, event: str, data: str, key: str) -> str:
    """Publishes `data`, and returns the id of the message.

    `key` names what has happened, such as an order and its new state. Under one key there is one message, however often
    it is published; that makes every repetition harmless.
    """
    deadline = time.monotonic() + TOTAL_S
    backoff_s = 0.25
    while True:
        retry_after_s = 0
        try:
            status, header, body = post(channel, event, data, key)
        except (OSError, http.client.HTTPException) as error:
            # Whether it was published is unknown, and need not be known.
            problem = PublishError(f"no answer: {error}")
        else:
            if status == 200:
                return json.loads(body)["id"]
            problem = PublishError(reason(status, body))
            if status not in (408, 429) and status < 500:
                raise problem
            value = header.get("Retry-After", "")
            retry_after_s = int(value) if value.isdecimal() else 0
        wait_s = retry_after_s + random.random() * backoff_s
        if time.monotonic() + wait_s > deadline:
            raise problem
        time.sleep(wait_s)
        backoff_s = min(2 * backoff_s, BACKOFF_MAX_S)


def post(channel: str, event: str, data: str, key: str) -> tuple[int, http.client.HTTPMessage, bytes]:
    url = urlsplit(os.environ["TIDEWIRE_URL"])
    connect = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
    connection = connect(url.netloc, timeout=ATTEMPT_S)
    headers = {
        "Authorization": f"Bearer {os.environ['TIDEWIRE_API_KEY']}",
        "Content-Type": "application/json",
        "Tidewire-Event": event,
        "Idempotency-Key": key,
    }
    try:
        connection.request("POST", f"{url.path}/c/{quote(channel, safe='')}", data.encode(), headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def reason(status: int, body: bytes) -> str:
    """What the server says of a refusal, or the status if it was somebody else on the way."""
    try:
        problem = json.loads(body)
        return f"{problem['code']}: {problem['detail']}"
    except (ValueError, LookupError, TypeError):
        return f"HTTP {status}"


if __name__ == "__main__":
    if len(sys.argv) != 5 or not {"TIDEWIRE_URL", "TIDEWIRE_API_KEY"} <= os.environ.keys():
        print("usage: TIDEWIRE_URL=… TIDEWIRE_API_KEY=… python3 publish.py CHANNEL EVENT DATA KEY", file=sys.stderr)
        sys.exit(2)
    try:
        print(publish(*sys.argv[1:]))
    except PublishError as error:
        print(error, file=sys.stderr)
        sys.exit(1)
