//! The fence of Redis mode, as a model that is searched exhaustively: what servers, nodes and a subscriber may do in any
//! order, failovers that lose the newest writes and nodes that die included (delivery rules R15 to R17, decision 13).
//!
//! ```text
//! Server x 2   a store that is replicated, and a replication id that changes with every promotion
//! Node x 2     linked to one server, by a handshake; remembers what it saw of every generation
//! Subscriber   at one node, with a cursor
//! ```
//!
//! Three facts are looked at in every state: an id names one message; once everybody has reported, whatever was
//! acknowledged was delivered or announced as lost; nothing is announced where nothing can have been lost.

mod store;
mod world;

use stateright::{Model, Property};

use crate::world::World;

/// Servers: a master and its replica, whichever is which at the moment.
const SERVERS: usize = 2;

/// Nodes.
const NODES: usize = 2;

/// An id never names two messages.
pub const ONE_NAME: &str = "an id names one message";

/// Nothing is lost in silence.
pub const NEVER_SILENT: &str = "what was acknowledged was delivered or announced";

/// No gap is false.
pub const NO_FALSE_GAP: &str = "nothing is announced where nothing was lost";

/// Which rules are kept. The search finds what goes wrong without each of them.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// A replication id that has changed makes a new generation, and who has not noticed cannot publish (R15, R16).
    pub fence: bool,
    /// A node tells in its handshake what it saw and had acknowledged of every generation (R17).
    pub witness: bool,
    /// It tells of every generation, not of the one alone that it comes from.
    pub every_generation: bool,
    /// What was seen of a generation that the server does not know counts as lost.
    pub dead_generations: bool,
    /// A node that had a part in a generation, and dies after a failover before it has told, counts as a witness of
    /// everything.
    pub dead_witness: bool,
    /// A node never goes back to a replication id that it has left.
    pub no_return: bool,
}

impl Rules {
    /// All of them.
    pub const ALL: Rules = Rules {
        fence: true,
        witness: true,
        every_generation: true,
        dead_generations: true,
        dead_witness: true,
        no_return: true,
    };
}

/// The model, and how far it is searched.
#[derive(Clone, Copy, Debug)]
pub struct Fence {
    /// Which rules are kept.
    pub rules: Rules,
    /// Messages at most.
    pub publishes: u8,
    /// Promotions at most.
    pub failovers: u8,
    /// Nodes that die, at most.
    pub deaths: u8,
}

/// What may happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// The replica catches up with its master.
    Replicate,
    /// The replica is promoted with what it has. The old master goes on without knowing.
    FailOver,
    /// The old master learns of it, takes the new one's store, and cuts its links.
    Demote,
    /// A node dials a server that takes itself for the master.
    Handshake(usize, usize),
    /// A node publishes and is answered.
    Publish(usize),
    /// The subscriber's node hears the next message over its link, and hands it on.
    Deliver,
    /// The subscriber comes to a node, with its cursor.
    Resume(usize),
    /// A node dies, and what it knows with it.
    Die(usize),
    /// A node says that another, which was awaited, has been silent for too long.
    GiveUp(usize, usize),
}

impl Model for Fence {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        vec![World::new()]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        steps.extend([Step::Replicate, Step::Demote, Step::Deliver]);
        if world.failovers() < self.failovers {
            steps.push(Step::FailOver);
        }
        for node in 0..NODES {
            steps.push(Step::Resume(node));
            if world.publishes() < self.publishes {
                steps.push(Step::Publish(node));
            }
            if world.deaths() < self.deaths {
                steps.push(Step::Die(node));
            }
            steps.extend((0..SERVERS).map(|server| Step::Handshake(node, server)));
            steps.extend((0..NODES).map(|dead| Step::GiveUp(node, dead)));
        }
    }

    fn next_state(&self, world: &World, step: Step) -> Option<World> {
        let mut next = world.clone();
        next.take(self.rules, step)?;
        (next != *world).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Fence>> {
        vec![
            Property::always(ONE_NAME, |_, world: &World| !world.names_twice()),
            Property::always(NEVER_SILENT, |fence: &Fence, world: &World| {
                !world.is_settled(fence.rules) || world.all_is_told()
            }),
            Property::always(NO_FALSE_GAP, |_, world: &World| !world.deceives()),
            Property::sometimes("a failover passes in silence", |fence: &Fence, world: &World| {
                world.failovers() > 0
                    && world.publishes() > 1
                    && world.is_settled(fence.rules)
                    && !world.has_announced()
            }),
            Property::sometimes("a loss is announced", |_, world: &World| world.has_announced()),
        ]
    }
}
