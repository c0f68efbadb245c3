//! Links that are subscribed.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidewire_broker::redis::{Ear, Envelope, Error, Heard, Timeouts};

use crate::node::{Node, PREFIX, channel, endpoint, message};
use crate::server::Server;

type Ears = Arc<Mutex<Vec<Heard>>>;

async fn listens(server: &Server) -> (Ear, Ears) {
    let ears = Ears::default();
    let hear = ears.clone();
    let hear = Arc::new(move |heard| hear.lock().unwrap().push(heard));
    let link = Ear::dial(&endpoint(&server.url()).await, PREFIX, 0, Timeouts::default(), hear).await.unwrap();
    (link, ears)
}

fn seqs(ears: &Ears) -> Vec<u64> {
    let read = |heard: &Heard| match heard {
        Heard::Told { channel, bytes } => {
            Envelope::decode(channel.clone(), bytes.clone()).unwrap().message.position.seq
        }
        Heard::Trace { .. } => panic!("nothing is traced"),
        Heard::Ended => panic!("the link has ended"),
    };
    ears.lock().unwrap().iter().map(read).collect()
}

#[tokio::test]
async fn r18_all_up_to_the_seq_of_a_probe_has_arrived_on_its_link() {
    let server = Server::start(&[]).await;
    let (link, ears) = listens(&server).await;
    let names = ["a", "b", "c"];
    link.subscribe(&names.map(channel)).await.unwrap();
    let mut node = Node::at(&server).await;
    let publisher = tokio::spawn(async move {
        for round in 0..100 {
            let messages: Vec<_> = (0..20).map(|at| message(names[(round + at) % 3], "x")).collect();
            node.publish_all(&messages.iter().collect::<Vec<_>>()).await;
        }
        node
    });
    let mut probes = BTreeSet::new();
    while probes.last() != Some(&2_000) {
        let seq = link.probe().await.unwrap().head.map_or(0, |head| head.seq);
        let heard = seqs(&ears);
        assert!(heard.len() as u64 >= seq, "{} of {seq}", heard.len());
        probes.insert(seq);
    }
    assert_eq!(seqs(&ears), (1..=2_000).collect::<Vec<u64>>());
    println!("{} different probes", probes.len());

    // Confirmations of many channels at once shift no answer (R19, S53).
    let mut node = publisher.await.unwrap();
    link.unsubscribe(&[]).await.unwrap();
    link.unsubscribe(&[channel("a"), channel("b")]).await.unwrap();
    for name in names {
        node.places(name, "y").await;
    }
    assert_eq!(link.probe().await.unwrap().head.unwrap().seq, 2_003);
    assert_eq!(seqs(&ears)[2_000..], [2_003]);
}

#[tokio::test]
async fn f11_the_end_of_a_subscribed_link_is_heard() {
    let server = Server::start(&[]).await;
    let (link, ears) = listens(&server).await;
    link.subscribe(&[channel("a")]).await.unwrap();
    server.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
    while ears.lock().unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(*ears.lock().unwrap(), [Heard::Ended]);
    assert_eq!(link.subscribe(&[channel("a")]).await, Err(Error::Broken));
}
