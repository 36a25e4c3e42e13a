//! The third picture: the time line of the newest rotation of the root, a lane for each consumer.

use jiff::Timestamp;
use maud::{Markup, html};

use super::holders::cut;
use super::lives::path;
use super::scale::Scale;
use crate::ca::rotation::{Course, Lane, Sighting};
use crate::distance::to_the_second;

/// Lanes that are drawn: those that took longest first.
pub(super) const MOST_LANES: usize = 60;

const WIDTH: f64 = 1_080.0;
const NAMES: f64 = 330.0;
/// Of the time; the rest of the width is for the last mark.
const TIMES: f64 = 700.0;
const TOP: f64 = 40.0;
const PITCH: f64 = 22.0;
const LETTERS: usize = 42;

pub(super) fn picture(course: &Course, now: Timestamp) -> Markup {
    html! {
        section id="rotation" {
            h2 { "The last rotation of the root" }
            @match (course.since, &course.new_root) {
                (Some(since), Some(new_root)) => {
                    p.how {
                        "A new root signs nothing before everybody who is live has its bundle. "
                        "○ has the new bundle, ■ a serial under the old root was seen in a handshake, "
                        "◆ one under the new root, ✕ handshakes failed because of a certificate."
                    }
                    p {
                        "Root " code { (course.old_root.as_deref().unwrap_or("–")) } " to "
                        code { (new_root) } ", from " (to_the_second(since))
                        @if let Some(at) = course.activated_at {
                            "; it signs since " (to_the_second(at)) "."
                        } @else { "; it does not sign yet." }
                    }
                    (time_line(course, since, now))
                }
                _ => { p.none { "No root was replaced since the control plane started." } }
            }
        }
    }
}

fn time_line(course: &Course, since: Timestamp, now: Timestamp) -> Markup {
    let mut lanes: Vec<&Lane> = course.lanes.iter().collect();
    lanes.sort_by_key(|lane| {
        let at = lane.acknowledged_at.unwrap_or(Timestamp::MAX);
        (std::cmp::Reverse(at), &lane.consumer)
    });
    let more = lanes.len().saturating_sub(MOST_LANES) as u64 + course.lanes_more;
    lanes.truncate(MOST_LANES);
    let end = end(course, now);
    let scale = Scale::new(since, end, NAMES, TIMES);
    let bottom = TOP + float(lanes.len()) * PITCH;
    html! {
        div.scroll {
            svg.lanes viewBox=(format!("0 0 {WIDTH} {}", bottom + 24.0)) width=(WIDTH) height=(bottom + 24.0)
                role="img" aria-label="Time line of the last rotation of the root" {
                @for (x, words) in scale.ticks() {
                    line.tick x1=(x) x2=(x) y1=(TOP) y2=(bottom) {}
                    text.small x=(x) y=(bottom + 16.0) text-anchor="middle" { (words) }
                }
                (event(scale.place(since), bottom, 12.0, "prepared"))
                @if let Some(at) = course.activated_at {
                    (event(scale.place(at), bottom, 26.0, "signs"))
                }
                @for (n, lane) in lanes.iter().enumerate() {
                    (drawn(lane, course, &scale, TOP + float(n) * PITCH + PITCH / 2.0))
                }
            }
        }
        @if more > 0 { p.more { "and " (more) " consumers more" } }
    }
}

/// The last thing that there is to show; while it waits, now.
fn end(course: &Course, now: Timestamp) -> Timestamp {
    let of_lane = |lane: &Lane| {
        let seen = lane.sightings.iter().filter_map(|it| it.at);
        let failed = lane.failures.iter().filter_map(|it| it.until);
        seen.chain(failed).chain(lane.acknowledged_at).max()
    };
    let lanes = course.lanes.iter().filter_map(of_lane).max();
    let activated = course.activated_at.unwrap_or(now);
    lanes.map_or(activated, |last| last.max(activated))
}

fn event(x: f64, bottom: f64, y: f64, name: &str) -> Markup {
    html! {
        line.event x1=(x) x2=(x) y1=(y + 2.0) y2=(bottom) {}
        text.small x=(x + 4.0) y=(y) { (name) }
    }
}

fn drawn(lane: &Lane, course: &Course, scale: &Scale, y: f64) -> Markup {
    html! {
        g data-consumer=(lane.consumer) data-acknowledged-at=[lane.acknowledged_at]
            data-serials=(lane.sightings.len() as u64 + lane.sightings_more) data-failed=(lane.failed()) {
            title { (lane.consumer) }
            text.lane x=(NAMES - 12.0) y=(y + 4.0) text-anchor="end" { (cut(&name(&lane.consumer), LETTERS)) }
            line.lane x1=(NAMES) x2=(NAMES + TIMES) y1=(y) y2=(y) {}
            @for it in &lane.sightings { (seen(it, course, scale, y)) }
            @if let Some(at) = lane.acknowledged_at {
                circle.acknowledged cx=(scale.place(at)) cy=(y) r="5" {
                    title { "has the new bundle, " (to_the_second(at)) }
                }
            } @else {
                text.small x=(NAMES + TIMES + 6.0) y=(y + 4.0) {
                    @if lane.waived { "waived" } @else { "waiting" }
                }
            }
            @for failure in &lane.failures {
                @if let Some(until) = failure.until {
                    text.failed x=(scale.place(until)) y=(y + 5.0) text-anchor="middle" {
                        "✕" title { (failure.count) " handshakes failed until " (to_the_second(until)) }
                    }
                }
            }
        }
    }
}

fn seen(it: &Sighting, course: &Course, scale: &Scale, y: f64) -> Markup {
    let Some(at) = it.at else {
        return html! {};
    };
    let is_new = course.new_root.as_ref() == Some(&it.root);
    let x = scale.place(at);
    let told = format!("{} serial {}, {}", it.id, it.serial, to_the_second(at));
    html! {
        @if is_new {
            path.new-root d=(format!("M{x} {} l6 6 l-6 6 l-6 -6 z", y - 6.0)) { title { (told) } }
        } @else {
            rect.old-root x=(x - 4.5) y=(y - 4.5) width="9" height="9" { title { (told) } }
        }
    }
}

/// A small number, for a place.
fn float(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

/// A consumer without its trust domain.
fn name(consumer: &str) -> String {
    path(consumer).to_owned()
}
