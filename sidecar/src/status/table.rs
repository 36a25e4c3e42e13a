//! A report for people, in the way of the operator's command line.

use countersign_cli::distance::{between, length, relative, to_the_second};
use countersign_cli::printable::Printable;
use countersign_cli::short::Short;
use countersign_cli::table::places::{self, Places, Taken};
use countersign_cli::table::text::{count, folded};
use countersign_cli::table::{Cell, Keep, Look, Table, Tone};
use jiff::Timestamp;

use super::{Identity, Report};
use crate::control::link_state::LeftAddress;

/// Rows of one table that a person reads; more with `--all`.
const MOST_ROWS: usize = 100;
/// What stands before the facts begins them all at one column.
const INDENT: &str = "               ";

/// The report as text, times relative to when it was made. `all` shows every row, however many there
/// are.
pub fn render(report: &Report, look: Look, all: bool) -> Printable {
    let tables = [
        identities(report, look, all),
        listeners(report, look, all),
        places(report, look),
    ];
    let facts = Printable::join(facts(report, look), "\n");
    Printable::join([facts].into_iter().chain(tables), "\n\n")
}

fn facts(report: &Report, look: Look) -> Vec<Printable> {
    let link = &report.control_plane;
    let (state, tone) = match link.connected {
        true => ("connected", Tone::Plain),
        false => ("not connected", Tone::Warn),
    };
    let (since, ago) = (to_the_second(link.since), relative(link.since, report.at));
    let head = format!("{}, {state} since {since} ({ago})", link.address);
    let mut lines = folded(&head, "control plane  ", tone, look);
    let below = |text: &str| folded(text, INDENT, Tone::Plain, look);
    lines.extend(link.problem.iter().flat_map(|why| below(why)));
    // The problem of a connection that failed says it all.
    let passed_by = link.unreached.iter().filter(|_| link.connected);
    lines.extend(passed_by.flat_map(|other| {
        let (address, why) = (&other.address, &other.problem);
        below(&format!("not reached: {address}: {why}"))
    }));
    let elsewhere = |left: &&LeftAddress| link.connected && left.address != link.address;
    lines.extend(link.left.iter().filter(elsewhere).flat_map(|left| {
        let (address, why, when) = (&left.address, &left.problem, relative(left.at, report.at));
        below(&format!("left {when}: {address}: {why}"))
    }));
    lines.extend(bundle(report, look));
    let headroom = length(report.outage_headroom_secs);
    let headroom = format!("{headroom} without the control plane");
    lines.extend(folded(&headroom, "headroom       ", Tone::Plain, look));
    let reasons = report
        .not_ready
        .iter()
        .map(|why| ("not ready      ", Tone::Bad, why));
    let flaws = report.degraded.iter();
    let reasons = reasons.chain(flaws.map(|what| ("degraded       ", Tone::Warn, what)));
    lines.extend(reasons.flat_map(|(before, tone, text)| folded(text, before, tone, look)));
    lines
}

fn bundle(report: &Report, look: Look) -> Vec<Printable> {
    let Some(bundle) = &report.bundle else {
        return folded("none installed", "bundle         ", Tone::Warn, look);
    };
    let version = Short::of([bundle.version.as_str()], look).short(&bundle.version);
    let roots = count(bundle.roots, "root");
    let text = format!("{}, {roots}, version {version}", bundle.trust_domain);
    let mut lines = folded(&text, "bundle         ", Tone::Plain, look);
    lines.extend(bundle.problem.iter().flat_map(|why| {
        let why = format!("a newer one is refused: {why}");
        folded(&why, INDENT, Tone::Warn, look)
    }));
    lines
}

fn identities(report: &Report, look: Look, all: bool) -> Printable {
    let mut rows: Vec<_> = report.identities.items.iter().collect();
    rows.sort_by(|a, b| {
        let key = |it: &Identity| (it.spiffe_id.to_string(), it.entitlement.clone());
        key(a).cmp(&key(b))
    });
    let (rows, more) = cut(rows, all, |it| it.problem.is_some());
    let serials: Vec<_> = rows.iter().filter_map(|it| it.serial).collect();
    let serials: Vec<_> = serials.iter().map(ToString::to_string).collect();
    let short = Short::of(serials.iter().map(String::as_str), look);
    let row = |it: &Identity| {
        let at = |at: Option<Timestamp>| at.map(|at| when(at, report.at, look));
        let due = it.renew_at.map(|due| match due < report.at && !look.wide {
            true => format!("{} overdue", between(due, report.at)),
            false => when(due, report.at, look),
        });
        [
            it.spiffe_id.to_string().into(),
            at(it.not_after).into(),
            due.into(),
            it.serial
                .map(|serial| short.short(&serial.to_string()))
                .into(),
            at(it.issued_at).into(),
            it.entitlement.as_str().into(),
            why_not(it.problem.as_ref()),
        ]
    };
    let table = Table::new([
        ("IDENTITY", Keep::Always),
        ("ENDS", Keep::Always),
        ("RENEWAL", Keep::Unless(1)),
        ("SERIAL", Keep::Unless(2)),
        ("ISSUED", Keep::Wide),
        ("ENTITLEMENT", Keep::Wide),
        ("WHY NOT", Keep::Always),
    ]);
    let table = table.with(rows.into_iter().map(row));
    Printable::join([table.render(look, "no identity"), more], "\n")
}

fn listeners(report: &Report, look: Look, all: bool) -> Printable {
    let rows = report.listeners.items.iter().collect();
    let (rows, more) = cut(rows, all, |it| it.problem.is_some());
    let rows = rows.into_iter().map(|it| {
        [
            it.name.as_str().into(),
            it.address.as_str().into(),
            it.identity.as_ref().into(),
            why_not(it.problem.as_ref()),
        ]
    });
    let table = Table::new([
        ("LISTENER", Keep::Always),
        ("ADDRESS", Keep::Always),
        ("IDENTITY", Keep::Unless(1)),
        ("WHY NOT", Keep::Always),
    ]);
    Printable::join([table.with(rows).render(look, ""), more], "\n")
}

fn places(report: &Report, look: Look) -> Printable {
    let of = |taken: usize, bound: usize| Taken {
        taken: taken as u64,
        bound: bound as u64,
    };
    let rows = report.places.items.iter().map(|it| Places {
        listener: &it.listener,
        connections: of(it.connections, it.bound),
        strangers: of(it.strangers, it.strangers_bound),
        handshakes: of(it.handshakes, it.handshakes_bound),
        turned_away: it.turned_away,
    });
    places::table(rows, look)
}

/// As many rows as a person reads, those with a problem first where they are too many; and how many are
/// left out.
fn cut<T>(mut rows: Vec<&T>, all: bool, has_problem: impl Fn(&T) -> bool) -> (Vec<&T>, Printable) {
    if all || rows.len() <= MOST_ROWS {
        return (rows, Printable::default());
    }
    rows.sort_by_key(|row| !has_problem(row));
    let more = format!("{} more rows: --all shows them", rows.len() - MOST_ROWS);
    rows.truncate(MOST_ROWS);
    (rows, more.into())
}

fn when(at: Timestamp, now: Timestamp, look: Look) -> String {
    match look.wide {
        true => to_the_second(at),
        false => relative(at, now),
    }
}

fn why_not(problem: Option<&String>) -> Cell {
    match problem {
        Some(problem) => Cell::toned(problem.as_str(), Tone::Warn),
        None => "-".into(),
    }
}
