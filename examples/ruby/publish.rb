# Publishes a message and prints its id: ruby publish.rb CHANNEL EVENT DATA KEY

require "erb"
require "json"
require "net/http"

ATTEMPT_S = 5
TOTAL_S = 30
BACKOFF_MAX_S = 4

# The message was refused, or nobody answered in time.
class PublishError < StandardError; end

# Publishes `data`, and returns the id of the message.
#
# `key` names what has happened, such as an order and its new state. Under one key there is one message, however often
# it is published; that makes every repetition harmless.
def publish(channel, event, data, key)
  deadline = now + TOTAL_S
  (0..).each do |attempt|
    retry_after = 0
    begin
      answer = post(channel, event, data, key)
    rescue SystemCallError, SocketError, IOError, Timeout::Error, OpenSSL::SSL::SSLError, Net::ProtocolError => error
      # Whether it was published is unknown, and need not be known.
      problem = "no answer: #{error.message}"
    else
      status = answer.code.to_i
      return JSON.parse(answer.body)["id"] if status == 200

      problem = reason(status, answer.body)
      raise PublishError, problem unless [408, 429].include?(status) || status >= 500

      retry_after = answer["Retry-After"].to_i
    end
    wait = retry_after + rand * [0.25 * 2**attempt, BACKOFF_MAX_S].min
    raise PublishError, problem if now + wait > deadline

    sleep wait
  end
end

def post(channel, event, data, key)
  url = URI("#{ENV.fetch("TIDEWIRE_URL")}/c/#{ERB::Util.url_encode(channel)}")
  headers = {
    "Authorization" => "Bearer #{ENV.fetch("TIDEWIRE_API_KEY")}",
    "Content-Type" => "application/json",
    "Tidewire-Event" => event,
    "Idempotency-Key" => key,
  }
  timeouts = { open_timeout: ATTEMPT_S, write_timeout: ATTEMPT_S, read_timeout: ATTEMPT_S }
  Net::HTTP.start(url.host, url.port, use_ssl: url.scheme == "https", **timeouts) do |connection|
    connection.post(url.request_uri, data, headers)
  end
end

# What the server says of a refusal, or the status if it was somebody else on the way.
def reason(status, body)
  problem = JSON.parse(body)
  "#{problem.fetch("code")}: #{problem.fetch("detail")}"
rescue JSON::ParserError, KeyError, NoMethodError
  "HTTP #{status}"
end

def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)

if __FILE__ == $PROGRAM_NAME
  unless ARGV.length == 4 && ENV.key?("TIDEWIRE_URL") && ENV.key?("TIDEWIRE_API_KEY")
    warn "usage: TIDEWIRE_URL=… TIDEWIRE_API_KEY=… ruby publish.rb CHANNEL EVENT DATA KEY"
    exit 2
  end
  begin
    puts publish(*ARGV)
  rescue PublishError => error
    abort error.message
  end
end
