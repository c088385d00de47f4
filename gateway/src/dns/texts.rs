//! A question to another DNS server: the texts of a name.

use std::{io, net::SocketAddr, time::Duration};

use hickory_proto::{
    ProtoError,
    op::{Edns, Message, MessageType, Query, ResponseCode},
    rr::{Name, RData, RecordType},
};
use thiserror::Error;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::timeout,
};

/// Asks a DNS server for the TXT records of a domain name: each a text, whose strings are joined.
/// There are none if the name has none.
///
/// # Errors
///
/// [`TextsError`]: the name is none, the server says that it does not exist, or does not answer.
///
/// # Cancel safety
///
/// Cancel safe: the question is forgotten.
pub async fn texts_of(server: SocketAddr, name: &str) -> Result<Vec<String>, TextsError> {
    let mut asked = Name::from_ascii(name).map_err(|_| TextsError::NoDomainName)?;
    asked.set_fqdn(true);
    let mut message = Message::query();
    // No guess of whoever forges answers.
    message.metadata.id = fastrand::u16(..);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(asked, RecordType::TXT));
    let mut edns = Edns::new();
    edns.set_max_payload(UDP_BYTES_MAX);
    message.set_edns(edns);
    let question = message.to_vec().map_err(|_| TextsError::NoDomainName)?;
    let mut answer = None;
    for _ in 0..ATTEMPTS {
        if let Ok(received) = timeout(PATIENCE, by_udp(server, &question, &message)).await {
            answer = Some(received?);
            break;
        }
    }
    let mut answer = answer.ok_or(TextsError::Silent)?;
    if answer.metadata.truncation {
        let whole = timeout(PATIENCE, by_tcp(server, &question, &message)).await;
        answer = whole.map_err(|_| TextsError::Silent)??;
    }
    match answer.metadata.response_code {
        ResponseCode::NoError => {}
        ResponseCode::NXDomain => return Err(TextsError::NoSuchName),
        code => return Err(TextsError::Refused(code.to_str().to_owned())),
    }
    let text = |data: &RData| match data {
        RData::TXT(text) => Some(String::from_utf8_lossy(&text.txt_data.concat()).into_owned()),
        _ => None,
    };
    Ok(answer.answers.iter().filter_map(|it| text(&it.data)).collect())
}

/// Waits for the answer among whatever comes.
async fn by_udp(server: SocketAddr, question: &[u8], asked: &Message) -> io::Result<Message> {
    let any = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    socket.send(question).await?;
    let mut bytes = vec![0; usize::from(UDP_BYTES_MAX)];
    loop {
        let length = socket.recv(&mut bytes).await?;
        if let Ok(answer) = read(&bytes[..length], asked) {
            return Ok(answer);
        }
    }
}

async fn by_tcp(server: SocketAddr, question: &[u8], asked: &Message) -> io::Result<Message> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(question.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), question].concat()).await?;
    let length = stream.read_u16().await?;
    let mut bytes = vec![0; length.into()];
    stream.read_exact(&mut bytes).await?;
    read(&bytes, asked).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Reads an answer to this question; others are none.
fn read(bytes: &[u8], asked: &Message) -> Result<Message, ProtoError> {
    let answer = Message::from_vec(bytes)?;
    let is_answer = answer.metadata.message_type == MessageType::Response
        && answer.metadata.id == asked.metadata.id
        && (answer.queries == asked.queries || answer.queries.is_empty());
    if is_answer { Ok(answer) } else { Err("an answer to another question".into()) }
}

/// Why a DNS server has no texts.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TextsError {
    /// It is no domain name.
    #[error("it is no domain name: labels of at most 63 bytes, 255 in total")]
    NoDomainName,
    /// The server says that there is no such name.
    #[error("there is no such name")]
    NoSuchName,
    /// The server answers with this code.
    #[error("the server answers {0}")]
    Refused(String),
    /// The server does not answer in time.
    #[error("the server does not answer")]
    Silent,
    /// It could not be asked.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// How long an answer takes at most; a resolver may have to ask others first.
const PATIENCE: Duration = Duration::from_secs(3);

/// How often it is asked: a datagram may be lost.
const ATTEMPTS: usize = 2;

/// What fits a datagram on every path, as the DNS flag day of 2020 has it.
const UDP_BYTES_MAX: u16 = 1232;
