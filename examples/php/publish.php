<?php
// Publishes a message and prints its id: php publish.php CHANNEL EVENT DATA KEY

declare(strict_types=1);

const ATTEMPT_S = 5;
const TOTAL_S = 30;
const BACKOFF_MAX_S = 4;

/**
 * Publishes `$data`, and returns the id of the message.
 *
 * `$key` names what has happened, such as an order and its new state. Under one key there is one message, however often
 * it is published; that makes every repetition harmless.
 *
 * @throws InvalidArgumentException if event or key would break a header.
 * @throws RuntimeException if the message was refused, or nobody answered in time.
 */
function publish(string $channel, string $event, string $data, string $key): string
{
    if (preg_match('/[[:cntrl:]]/', $event . $key)) {
        throw new InvalidArgumentException('a line break, or the like, in the event or the key');
    }
    $request = curl_init(getenv('TIDEWIRE_URL') . '/c/' . rawurlencode($channel));
    curl_setopt_array($request, [
        CURLOPT_POSTFIELDS => $data,
        CURLOPT_HTTPHEADER => [
            'Authorization: Bearer ' . getenv('TIDEWIRE_API_KEY'),
            'Content-Type: application/json',
            "Tidewire-Event: $event",
            "Idempotency-Key: $key",
        ],
        CURLOPT_RETURNTRANSFER => true,
        CURLOPT_TIMEOUT => ATTEMPT_S,
    ]);
    $deadline = microtime(true) + TOTAL_S;
    for ($attempt = 0; ; $attempt++) {
        $retryAfter = 0;
        $body = curl_exec($request);
        if ($body === false) {
            // Whether it was published is unknown, and need not be known.
            $problem = 'no answer: ' . curl_error($request);
        } else {
            $status = curl_getinfo($request, CURLINFO_RESPONSE_CODE);
            if ($status === 200) {
                return json_decode($body, flags: JSON_THROW_ON_ERROR)->id;
            }
            $problem = reason($status, $body);
            if ($status !== 408 && $status !== 429 && $status < 500) {
                throw new RuntimeException($problem);
            }
            $retryAfter = curl_getinfo($request, CURLINFO_RETRY_AFTER);
        }
        $wait = $retryAfter + lcg_value() * min(0.25 * 2 ** $attempt, BACKOFF_MAX_S);
        if (microtime(true) + $wait > $deadline) {
            throw new RuntimeException($problem);
        }
        usleep((int) ($wait * 1_000_000));
    }
}

/** What the server says of a refusal, or the status if it was somebody else on the way. */
function reason(int $status, string $body): string
{
    $problem = json_decode($body, true);
    return isset($problem['code'], $problem['detail']) ? "{$problem['code']}: {$problem['detail']}" : "HTTP $status";
}

if ($argc !== 5 || !getenv('TIDEWIRE_URL') || !getenv('TIDEWIRE_API_KEY')) {
    fwrite(STDERR, "usage: TIDEWIRE_URL=… TIDEWIRE_API_KEY=… php publish.php CHANNEL EVENT DATA KEY\n");
    exit(2);
}
try {
    echo publish(...array_slice($argv, 1)), "\n";
} catch (InvalidArgumentException | RuntimeException $error) {
    fwrite(STDERR, $error->getMessage() . "\n");
    exit(1);
}
