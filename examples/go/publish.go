// Publishes a message and prints its id: go run publish.go CHANNEL EVENT DATA KEY
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

const (
	attemptTimeout = 5 * time.Second
	totalTimeout   = 30 * time.Second
	backoffMax     = 4 * time.Second
)

var client = &http.Client{
	Timeout: attemptTimeout,
	// A redirect would turn the POST into a GET.
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// Publish publishes data and returns the id of the message.
//
// The key names what has happened, such as an order and its new state. Under one key there is one message, however often
// it is published; that makes every repetition harmless.
func Publish(channel, event, data, key string) (string, error) {
	deadline := time.Now().Add(totalTimeout)
	backoff := 250 * time.Millisecond
	for {
		id, retryAfter, mayPass, err := post(channel, event, data, key)
		if err == nil || !mayPass {
			return id, err
		}
		wait := retryAfter + time.Duration(rand.Int63n(int64(backoff)))
		if time.Now().Add(wait).After(deadline) {
			return "", err
		}
		time.Sleep(wait)
		if backoff *= 2; backoff > backoffMax {
			backoff = backoffMax
		}
	}
}

// post tries once. An error that may pass comes with how long to wait at least.
func post(channel, event, data, key string) (id string, retryAfter time.Duration, mayPass bool, err error) {
	address := os.Getenv("TIDEWIRE_URL") + "/c/" + url.PathEscape(channel)
	request, err := http.NewRequest(http.MethodPost, address, strings.NewReader(data))
	if err != nil {
		return "", 0, false, err
	}
	request.Header.Set("Authorization", "Bearer "+os.Getenv("TIDEWIRE_API_KEY"))
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Tidewire-Event", event)
	request.Header.Set("Idempotency-Key", key)

	answer, err := client.Do(request)
	if err != nil {
		// Whether it was published is unknown, and need not be known.
		return "", 0, true, fmt.Errorf("no answer: %w", err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return "", 0, true, fmt.Errorf("no answer: %w", err)
	}
	status := answer.StatusCode
	if status == http.StatusOK {
		var receipt struct{ ID string }
		err := json.Unmarshal(body, &receipt)
		return receipt.ID, 0, false, err
	}
	seconds, _ := strconv.ParseUint(answer.Header.Get("Retry-After"), 10, 32)
	mayPass = status == http.StatusRequestTimeout || status == http.StatusTooManyRequests || status >= 500
	return "", time.Duration(seconds) * time.Second, mayPass, errors.New(reason(status, body))
}

// reason is what the server says of a refusal, or the status if it was somebody else on the way.
func reason(status int, body []byte) string {
	var problem struct{ Code, Detail string }
	if json.Unmarshal(body, &problem) != nil || problem.Code == "" {
		return fmt.Sprintf("HTTP %d", status)
	}
	return problem.Code + ": " + problem.Detail
}

func main() {
	if len(os.Args) != 5 || os.Getenv("TIDEWIRE_URL") == "" || os.Getenv("TIDEWIRE_API_KEY") == "" {
		fmt.Fprintln(os.Stderr, "usage: TIDEWIRE_URL=… TIDEWIRE_API_KEY=… go run publish.go CHANNEL EVENT DATA KEY")
		os.Exit(2)
	}
	id, err := Publish(os.Args[1], os.Args[2], os.Args[3], os.Args[4])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(id)
}
