//! Any sequence of operations against a plain model, with the matcher's insides checked after each.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::Origin;

const LIMITS: Limits = Limits { waiting: 8, waiting_per_key: 3, waiting_per_origin: Some(4) };

/// What is paired here: it can be neither copied nor made twice.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Conn(usize);

#[derive(Debug, Clone)]
enum Op {
    Offer(Arrival),
    /// The ticket of the n-th offer, whatever became of it.
    Withdraw(prop::sample::Index),
    /// So many seconds later.
    Expire(u64),
    Close,
    /// Another matcher takes over.
    HandOver,
}

#[derive(Debug, Clone)]
struct Arrival {
    realm: Realm,
    key: u8,
    role: Role,
    origin: Option<Origin>,
    /// Seconds from the beginning.
    deadline: Option<u64>,
    may_wait: bool,
    exclusive: bool,
    receivers: u16,
}

fn arrival() -> impl Strategy<Value = Arrival> {
    let side = prop::sample::select(&Side::BOTH).prop_map(Role::Side);
    let receivers = prop_oneof![3 => Just(1), 1 => 2..=3u16];
    let sided = (prop::sample::select(&[Realm::Plain, Realm::Sealed]), side, receivers);
    let label = option::weighted(0.8, (0..3u8).prop_map(|label| Box::new([label; 16])));
    let labelled = (Just(Realm::Transit), label.prop_map(Role::Label), Just(1));
    (
        prop_oneof![3 => sided, 1 => labelled],
        0..3u8,
        option::weighted(0.9, (0..3u64).prop_map(Origin)),
        option::of(0..30u64),
        prop::bool::weighted(0.9),
        prop::bool::weighted(0.1),
    )
        .prop_map(|((realm, role, receivers), key, origin, deadline, may_wait, exclusive)| {
            Arrival { realm, key, role, origin, deadline, may_wait, exclusive, receivers }
        })
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        60 => arrival().prop_map(Op::Offer),
        20 => any::<prop::sample::Index>().prop_map(Op::Withdraw),
        5 => (0..5u64).prop_map(Op::Expire),
        1 => Just(Op::Close),
        2 => Just(Op::HandOver),
    ]
}

/// Who waits under each realm and key, in order of arrival.
#[derive(Debug, Default)]
struct Model {
    queues: BTreeMap<(Realm, u8), VecDeque<(usize, Arrival)>>,
    closed: bool,
}

#[derive(Debug, PartialEq)]
enum Expected {
    Waiting { gathered: u16 },
    Paired { upload: usize, download: usize, others: Vec<usize>, spares: Vec<usize> },
    Refused(Refusal),
}

impl Model {
    fn waiting(&self) -> impl Iterator<Item = &(usize, Arrival)> {
        self.queues.values().flatten()
    }

    fn first_that_pairs(&self, realm: Realm, key: u8, role: &Role) -> Option<usize> {
        let queue = self.queues.get(&(realm, key))?;
        queue.iter().position(|(_, other)| match (&other.role, role) {
            (Role::Side(one), Role::Side(other)) => one != other,
            (Role::Label(one), Role::Label(other)) => {
                one.is_none() || other.is_none() || one != other
            }
            _ => false,
        })
    }

    /// What comes of an arrival to an exchange with several receivers, of whom `queue` wait;
    /// nothing if it is to wait too.
    fn gather(queue: &VecDeque<(usize, Arrival)>, id: usize, new: &Arrival) -> Option<Expected> {
        let is_upload = |arrival: &Arrival| arrival.role == Role::Side(Side::Upload);
        let all = || queue.iter().map(|(id, arrival)| (*id, arrival)).chain([(id, new)]);
        let uploads: Vec<_> = all().filter(|(_, a)| is_upload(a)).map(|(id, _)| id).collect();
        let downloads: Vec<_> = all().filter(|(_, a)| !is_upload(a)).map(|(id, _)| id).collect();
        let receivers = usize::from(new.receivers);
        if uploads.len() > 1 || downloads.len() > receivers {
            return Some(Expected::Refused(Refusal::SideTaken));
        }
        (uploads.len() + downloads.len() == receivers + 1).then(|| Expected::Paired {
            upload: uploads[0],
            download: downloads[0],
            others: downloads[1..].to_vec(),
            spares: Vec::new(),
        })
    }

    fn offer(&mut self, id: usize, arrival: &Arrival) -> Expected {
        let Arrival { realm, key, ref role, origin, may_wait, exclusive, receivers, .. } = *arrival;
        if self.closed {
            return Expected::Refused(Refusal::Closed);
        }
        let gathers = receivers > 1;
        if let Some(queue) = self.queues.get(&(realm, key)) {
            let expected = queue[0].1.receivers;
            if expected != receivers {
                return Expected::Refused(Refusal::Receivers { expected });
            }
            if gathers && let Some(expected) = Self::gather(queue, id, arrival) {
                if let Expected::Paired { .. } = expected {
                    self.queues.remove(&(realm, key));
                }
                return expected;
            }
        }
        if !gathers && let Some(position) = self.first_that_pairs(realm, key, role) {
            let mut queue = self.queues.remove(&(realm, key)).unwrap();
            let (waited, _) = queue.remove(position).unwrap();
            let (upload, download) =
                if *role == Role::Side(Side::Upload) { (id, waited) } else { (waited, id) };
            let mut spares = Vec::new();
            if matches!(role, Role::Label(_)) {
                spares = queue.drain(..).map(|(id, _)| id).collect();
            }
            self.put_back(realm, key, queue);
            return Expected::Paired { upload, download, others: Vec::new(), spares };
        }
        let before = self.queues.get(&(realm, key)).map_or(0, VecDeque::len);
        let of_origin = self.waiting().filter(|(_, other)| other.origin == origin).count();
        if exclusive && before > 0 && !gathers {
            return Expected::Refused(Refusal::SideTaken);
        } else if !may_wait {
            return Expected::Refused(Refusal::Full);
        } else if before == LIMITS.waiting_per_key {
            return Expected::Refused(Refusal::KeyFull);
        } else if origin.is_some() && Some(of_origin) == LIMITS.waiting_per_origin {
            return Expected::Refused(Refusal::OriginFull);
        } else if self.waiting().count() == LIMITS.waiting {
            return Expected::Refused(Refusal::Full);
        }
        self.queues.entry((realm, key)).or_default().push_back((id, arrival.clone()));
        let gathered = if gathers { u16::try_from(before).unwrap() } else { 0 };
        Expected::Waiting { gathered }
    }

    /// The uploader in whose gathering an arrival waits.
    fn uploader_with(&self, arrival: &Arrival) -> Option<usize> {
        let queue = self.queues.get(&(arrival.realm, arrival.key))?;
        let upload = queue.iter().find(|(_, other)| other.role == Role::Side(Side::Upload))?;
        (arrival.receivers > 1).then_some(upload.0)
    }

    fn remove(&mut self, id: usize) -> bool {
        let found = self.queues.iter().find_map(|(&name, queue)| {
            queue.iter().position(|&(other, _)| other == id).map(|position| (name, position))
        });
        let Some(((realm, key), position)) = found else { return false };
        let mut queue = self.queues.remove(&(realm, key)).unwrap();
        queue.remove(position);
        self.put_back(realm, key, queue);
        true
    }

    fn put_back(&mut self, realm: Realm, key: u8, queue: VecDeque<(usize, Arrival)>) {
        if !queue.is_empty() {
            self.queues.insert((realm, key), queue);
        }
    }

    fn deadlines(&self) -> impl Iterator<Item = (u64, usize)> {
        self.waiting().filter_map(|(id, arrival)| Some((arrival.deadline?, *id)))
    }
}

/// The matcher, the model, and every connection that has come out.
struct Bench {
    matcher: Rendezvous<Conn>,
    model: Model,
    tickets: Vec<(Ticket, usize)>,
    offered: usize,
    out: BTreeSet<Conn>,
    start: Instant,
    now: u64,
}

impl Bench {
    fn new() -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "an instant to count from; there is no other"
        )]
        let start = Instant::now();
        Self {
            matcher: Rendezvous::new(LIMITS),
            model: Model::default(),
            tickets: Vec::new(),
            offered: 0,
            out: BTreeSet::new(),
            start,
            now: 0,
        }
    }

    fn at(&self, seconds: u64) -> Instant {
        self.start + Duration::from_secs(seconds)
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Offer(arrival) => self.offer(arrival),
            Op::Withdraw(index) if !self.tickets.is_empty() => {
                let (ticket, id) = *index.get(&self.tickets);
                let expected = self.model.remove(id).then_some(Conn(id));
                let conn = self.matcher.withdraw(ticket);
                assert_eq!(conn, expected, "withdrawn");
                self.come_out(conn);
            }
            Op::Withdraw(_) => {}
            Op::Expire(seconds) => self.expire(*seconds),
            Op::Close => {
                let released = self.close();
                self.come_out(released.into_iter().map(|offer| offer.conn));
                self.model = Model { closed: true, ..Model::default() };
            }
            Op::HandOver => self.hand_over(),
        }
        self.check();
    }

    fn close(&mut self) -> Vec<Offer<Conn>> {
        let released = self.matcher.close();
        let ids: Vec<_> = released.iter().map(|offer| offer.conn.0).collect();
        assert_eq!(ids.len(), self.model.waiting().count(), "released");
        for queue in self.model.queues.values() {
            let queue: Vec<_> = queue.iter().map(|(id, _)| *id).collect();
            let at = ids.iter().position(|&id| id == queue[0]).unwrap();
            assert_eq!(ids[at..at + queue.len()], queue, "in order of arrival");
        }
        released
    }

    /// Has another matcher go on with those who wait: the model does not notice.
    fn hand_over(&mut self) {
        let released = self.close();
        if self.model.closed {
            return;
        }
        self.matcher = Rendezvous::new(LIMITS);
        self.tickets.clear();
        for offer in released {
            let id = offer.conn.0;
            match self.matcher.offer(offer) {
                Offered::Waiting { ticket, .. } => self.tickets.push((ticket, id)),
                other => panic!("{id} has waited: {other:?}"),
            }
        }
    }

    fn offer(&mut self, arrival: &Arrival) {
        let id = self.offered;
        self.offered += 1;
        let expected = self.model.offer(id, arrival);
        let offered = self.matcher.offer(Offer {
            realm: arrival.realm,
            key: Key::parse(&[arrival.key]).unwrap(),
            role: arrival.role.clone(),
            origin: arrival.origin,
            deadline: arrival.deadline.map(|seconds| self.at(seconds)),
            may_wait: arrival.may_wait,
            exclusive: arrival.exclusive,
            receivers: arrival.receivers,
            conn: Conn(id),
        });
        let got = match offered {
            Offered::Waiting { ticket, gathered } => {
                self.tickets.push((ticket, id));
                let uploader = self.matcher.uploader_with(ticket).map(|(conn, _)| conn.0);
                assert_eq!(uploader, self.model.uploader_with(arrival), "{arrival:?}");
                let waiter = (arrival.realm, &Key::parse(&[arrival.key]).unwrap(), &arrival.role);
                let is_one = arrival.receivers == 1;
                assert_eq!(self.matcher.waiter(ticket), is_one.then_some(waiter), "{arrival:?}");
                Expected::Waiting { gathered }
            }
            Offered::Paired { key, upload, download, others, spares } => {
                assert_eq!(key.as_bytes(), [arrival.key]);
                let (up, down) = (upload.0, download.0);
                let ids = |conns: &[Conn]| conns.iter().map(|conn| conn.0).collect();
                let (others_ids, spares_ids) = (ids(&others), ids(&spares));
                self.come_out([upload, download].into_iter().chain(others).chain(spares));
                Expected::Paired {
                    upload: up,
                    download: down,
                    others: others_ids,
                    spares: spares_ids,
                }
            }
            Offered::Refused { conn, why } => {
                assert_eq!(conn, Conn(id));
                self.come_out([conn]);
                Expected::Refused(why)
            }
        };
        assert_eq!(got, expected, "{arrival:?}");
    }

    fn expire(&mut self, seconds: u64) {
        self.now += seconds;
        let mut due: Vec<_> =
            self.model.deadlines().filter(|(deadline, _)| *deadline <= self.now).collect();
        due.sort();
        let deadline_of: BTreeMap<usize, u64> = due.iter().map(|&(at, id)| (id, at)).collect();
        due.iter().for_each(|&(_, id)| assert!(self.model.remove(id)));
        let expired = self.matcher.expire(self.at(self.now));
        let order: Vec<_> = expired.iter().map(|conn| deadline_of[&conn.0]).collect();
        assert!(order.is_sorted(), "the most overdue comes first: {order:?}");
        assert_eq!(expired.len(), due.len(), "expired");
        self.come_out(expired);
    }

    fn come_out(&mut self, conns: impl IntoIterator<Item = Conn>) {
        for conn in conns {
            assert!(conn.0 < self.offered, "nobody offered {conn:?}");
            let id = conn.0;
            assert!(self.out.insert(conn), "{id} came out twice");
        }
    }

    fn check(&mut self) {
        let waiting = self.model.waiting().count();
        assert_eq!(self.matcher.waiting(), waiting);
        for realm in Realm::ALL {
            let expected = self.model.waiting().filter(|(_, it)| it.realm == realm).count();
            assert_eq!(self.matcher.waiting_in(realm), expected, "{realm:?}");
        }
        assert_eq!(self.out.len() + waiting, self.offered, "every connection is in or out");
        let next = self.model.deadlines().map(|(deadline, _)| deadline).min();
        assert_eq!(self.matcher.next_deadline(), next.map(|seconds| self.at(seconds)));
        assert_sound(&self.matcher, self.model.queues.len());
    }
}

/// Checks what the matcher's insides promise one another.
fn assert_sound<Conn>(matcher: &Rendezvous<Conn>, keys: usize) {
    matcher.rings.assert_sound(keys);
    assert_eq!(matcher.quota.waiting(), matcher.waiting());
    let with_deadline = matcher.rings.waiters().filter(|waiter| waiter.has_deadline).count();
    assert_eq!(matcher.deadlines.sizes().0, with_deadline);
    if matcher.waiting() == 0 {
        assert_eq!(matcher.quota.origins(), 0, "origins are forgotten with their last waiter");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn every_connection_comes_out_once_as_the_model_says(ops in vec(op(), 0..120)) {
        let mut bench = Bench::new();
        for op in &ops {
            bench.apply(op);
        }
        bench.apply(&Op::Close);
        prop_assert_eq!(bench.out.len(), bench.offered);
        prop_assert_eq!(bench.matcher.waiting(), 0);
    }
}

#[test]
fn a_ticket_names_one_use_of_its_entry_only() {
    let mut matcher = Rendezvous::new(Limits::default());
    let mut offer = |n| match matcher.offer(offer_of(n)) {
        Offered::Waiting { ticket, .. } => (matcher.withdraw(ticket), ticket),
        other => panic!("{other:?}"),
    };
    let (first, stale) = offer(1);
    let (second, _) = offer(2);
    assert_eq!((first, second), (Some(Conn(1)), Some(Conn(2))));
    let Offered::Waiting { ticket, .. } = matcher.offer(offer_of(3)) else { panic!("it waits") };
    assert_eq!(ticket.index, stale.index, "the entry is used again");
    assert_eq!(matcher.withdraw(stale), None);
    assert_eq!(matcher.withdraw(ticket), Some(Conn(3)));
}

#[test]
fn a_burst_leaves_no_memory_behind() {
    const BURST: usize = 20_000;
    let bench = Bench::new();
    let mut matcher = Rendezvous::new(Limits::default());
    for round in 0..3u64 {
        let tickets: Vec<_> = (0..BURST)
            .map(|n| {
                let deadline = Some(bench.at(1000 + n as u64));
                match matcher.offer(Offer { deadline, ..offer_of(n) }) {
                    Offered::Waiting { ticket, .. } => ticket,
                    other => panic!("round {round}: {other:?}"),
                }
            })
            .collect();
        assert_sound(&matcher, BURST);
        for (n, ticket) in tickets.into_iter().enumerate() {
            assert_eq!(matcher.withdraw(ticket), Some(Conn(n)));
        }
        assert_sound(&matcher, 0);
        let (entries, keys) = matcher.rings.capacities();
        assert!(entries <= BURST / 4, "{entries} entries");
        assert!(keys <= BURST / 4, "{keys} keys");
        let (_, deadlines, room) = matcher.deadlines.sizes();
        assert!(deadlines <= 1024, "{deadlines} deadlines");
        assert!(room <= BURST / 4, "room for {room} deadlines");
    }
}

fn offer_of(n: usize) -> Offer<Conn> {
    let key = Key::parse(&n.to_be_bytes()).unwrap();
    Offer::new(Realm::Plain, key, Side::Upload, Conn(n))
}
