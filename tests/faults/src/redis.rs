//! Redis as an operator speaks to it: one command, one answer, a connection each time.

use std::io;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A status, a text or a number.
    Text(String),
    /// An error.
    Error(String),
    /// Nothing.
    Nil,
    /// Several.
    List(Vec<Answer>),
}

impl Answer {
    /// All texts in it, in order.
    #[must_use]
    pub fn texts(&self) -> Vec<&str> {
        match self {
            Answer::Text(text) | Answer::Error(text) => vec![text],
            Answer::Nil => Vec::new(),
            Answer::List(list) => list.iter().flat_map(Answer::texts).collect(),
        }
    }
}

/// Asks the server at `port`.
///
/// # Errors
/// It does not answer within two seconds.
pub async fn ask(port: u16, words: &[&str]) -> io::Result<Answer> {
    timeout(PATIENCE, async {
        let mut stream = BufReader::new(TcpStream::connect(("127.0.0.1", port)).await?);
        let mut command = format!("*{}\r\n", words.len());
        for word in words {
            command.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        stream.write_all(command.as_bytes()).await?;
        let answer = answer(&mut stream).await;
        forget(stream.get_ref());
        answer
    })
    .await?
}

/// Asks, and gives the answer as one text; empty where there is none.
pub async fn text(port: u16, words: &[&str]) -> String {
    ask(port, words).await.map(|answer| answer.texts().join("\n")).unwrap_or_default()
}

/// Has the kernel forget a connection with its end. There are hundreds a second, and whoever looks for the owner of one
/// reads past all that the kernel still remembers.
pub(crate) fn forget(stream: &TcpStream) {
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

const PATIENCE: Duration = Duration::from_secs(2);

async fn answer(stream: &mut BufReader<TcpStream>) -> io::Result<Answer> {
    let mut line = String::new();
    if stream.read_line(&mut line).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let (kind, rest) = line.trim_end().split_at(1);
    let length = || rest.parse::<i64>().map_err(|_| io::Error::from(io::ErrorKind::InvalidData));
    Ok(match kind {
        "+" | ":" => Answer::Text(rest.to_owned()),
        "-" => Answer::Error(rest.to_owned()),
        "$" => match usize::try_from(length()?) {
            Ok(length) => {
                let mut bytes = vec![0; length + 2];
                stream.read_exact(&mut bytes).await?;
                Answer::Text(String::from_utf8_lossy(&bytes[..length]).into_owned())
            }
            Err(_) => Answer::Nil,
        },
        "*" => {
            let mut list = Vec::new();
            for _ in 0..length()? {
                list.push(Box::pin(answer(stream)).await?);
            }
            Answer::List(list)
        }
        _ => return Err(io::ErrorKind::InvalidData.into()),
    })
}
