//! A reader of event streams, written from WHATWG HTML section 9.2.6 and knowing nothing of our writer.

/// What a page would see of one event.
#[derive(Debug, PartialEq, Eq)]
pub struct Dispatched {
    /// Its type; `message` where the stream named none.
    pub event: String,
    /// Its data.
    pub data: String,
    /// The last event id when it was dispatched.
    pub last_event_id: String,
}

/// Every event that a browser would dispatch for this stream.
pub fn read(stream: &str) -> Vec<Dispatched> {
    let stream = stream.strip_prefix('\u{feff}').unwrap_or(stream);
    let lines = stream.replace("\r\n", "\n").replace('\r', "\n");
    let mut dispatched = Vec::new();
    let (mut event, mut data, mut id) = (String::new(), String::new(), String::new());
    // What follows the last line feed is an unfinished line, and a browser drops it.
    let complete = lines.rsplit_once('\n').map_or("", |(complete, _)| complete);
    for line in complete.split('\n') {
        if line.is_empty() {
            if !data.is_empty() {
                let name = if event.is_empty() { "message".into() } else { event.clone() };
                data.pop();
                dispatched.push(Dispatched { event: name, data: data.clone(), last_event_id: id.clone() });
            }
            event.clear();
            data.clear();
            continue;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => event = value.to_owned(),
            "data" => {
                data.push_str(value);
                data.push('\n');
            }
            "id" if !value.contains('\0') => id = value.to_owned(),
            _ => {}
        }
    }
    dispatched
}
