//! Finds opponents for players: the matcher pairs things that are no connections at all, on a clock
//! of the caller's.
//!
//! `cargo run --release --example matchmaking`

#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::error::Error;
use std::time::{Duration, Instant};

use xchg_core::{Key, Limits, Offer, Offered, Realm, Rendezvous, Role, Side, Ticket};

/// A player at a device. The matcher never looks inside.
#[derive(Debug, PartialEq)]
struct Player(&'static str, &'static str);

const PATIENCE: Duration = Duration::from_secs(30);

fn main() -> Result<(), Box<dyn Error>> {
    let mut lobby = Rendezvous::new(Limits::default());
    let start = Instant::now();

    // The game is the key. Players are equals, so that they have labels instead of sides: nobody
    // plays against herself.
    let phone = arrive(&mut lobby, "chess", Player("Ada", "phone"), start)?;
    let laptop = arrive(&mut lobby, "chess", Player("Ada", "laptop"), start)?;
    let go = arrive(&mut lobby, "go", Player("Shusaku", "desk"), start + Duration::from_secs(9))?;
    assert!(phone.is_some() && laptop.is_some() && go.is_some());
    let paired = arrive(&mut lobby, "chess", Player("Grace", "phone"), start)?;
    assert!(paired.is_none(), "she plays");
    assert_eq!(phone.and_then(|ticket| lobby.withdraw(ticket)), None, "that ticket is used");

    // Who changes his mind takes himself back.
    let mind = arrive(&mut lobby, "poker", Player("Blaise", "desk"), start)?.ok_or("he waits")?;
    assert_eq!(lobby.withdraw(mind), Some(Player("Blaise", "desk")));
    println!("Blaise leaves");

    // The matcher reads no clock: it says when to come back, and is told the time.
    let due = lobby.next_deadline().ok_or("Shusaku has a deadline")?;
    println!("nothing to do for {} s", (due - start).as_secs());
    for Player(name, _) in lobby.expire(due) {
        println!("{name} found nobody in {} s", PATIENCE.as_secs());
    }
    assert_eq!(lobby.waiting(), 0);

    // Where the two are no equals, they have sides.
    for (side, name) in [(Side::Upload, "teacher"), (Side::Download, "student")] {
        let offer = Offer::new(Realm::Plain, Key::parse(b"latin")?, side, Player(name, "desk"));
        if let Offered::Paired { upload, download, .. } = lobby.offer(offer) {
            println!("latin: {} teaches {}", upload.0, download.0);
        }
    }
    Ok(())
}

/// Looks for an opponent; the ticket is for whoever waits.
fn arrive(
    lobby: &mut Rendezvous<Player>,
    game: &str,
    player: Player,
    now: Instant,
) -> Result<Option<Ticket>, Box<dyn Error>> {
    let mut label = [0; 16];
    label[..player.0.len()].copy_from_slice(player.0.as_bytes());
    let offer = Offer {
        realm: Realm::Transit,
        key: Key::parse(game.as_bytes())?,
        role: Role::Label(Some(Box::new(label))),
        origin: None,
        deadline: Some(now + PATIENCE),
        may_wait: true,
        exclusive: false,
        receivers: 1,
        conn: player,
    };
    match lobby.offer(offer) {
        Offered::Waiting { ticket, .. } => {
            println!("{game}: a player waits, {} in all", lobby.waiting());
            Ok(Some(ticket))
        }
        Offered::Paired { upload, download, spares, .. } => {
            println!("{game}: {} plays {}", upload.0, download.0);
            for Player(name, device) in spares {
                println!("{game}: {name}'s {device} may stop waiting");
            }
            Ok(None)
        }
        Offered::Refused { why, .. } => Err(why.into()),
    }
}
