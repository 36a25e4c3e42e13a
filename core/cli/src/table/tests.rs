use proptest::prelude::*;

use super::*;

const COLUMNS: [(&str, Keep); 4] = [
    ("ID", Keep::Always),
    ("OWNER", Keep::Unless(1)),
    ("SERIAL", Keep::Unless(2)),
    ("ENTITLEMENT", Keep::Wide),
];

fn table() -> Table<4> {
    Table::new(COLUMNS).with([[
        "spiffe://example.org/pay/db".into(),
        "team-pay".into(),
        Cell::toned("0a1b2c0000000007", Tone::Bad),
        "reg-1".into(),
    ]])
}

fn at(width: usize) -> Look {
    Look {
        width: Some(width),
        ..Look::default()
    }
}

fn text(look: Look) -> String {
    table().render(look, "").to_string()
}

#[test]
fn least_important_columns_are_left_out_first() {
    let header = |width| text(at(width)).lines().next().unwrap().to_owned();
    let words = |width| header(width).split_whitespace().count();
    assert_eq!((words(60), words(50), words(30)), (3, 2, 1));
    assert!(header(50).contains("OWNER"), "{}", header(50));
    let none = Look::default();
    assert_eq!(
        text(none)
            .lines()
            .next()
            .unwrap()
            .split_whitespace()
            .count(),
        3
    );
}

#[test]
fn columns_without_room_are_named() {
    let below = |width| text(at(width)).lines().skip(2).collect::<String>();
    assert_eq!(below(60), "");
    assert_eq!(below(50), "--wide shows SERIAL");
    assert!(text(at(30)).ends_with("\n--wide shows OWNER, SERIAL"));
    let wide = Look {
        wide: true,
        ..at(30)
    };
    assert!(!text(wide).contains("--wide"));
}

/// An ID that one team chose takes no column from the rows of the others.
#[test]
fn one_long_cell_leaves_no_column_out() {
    let row = |id: String| [id.into(), "team-pay".into(), "5c1a2b00000003…".into()];
    let columns = [
        ("ID", Keep::Always),
        ("OWNER", Keep::Unless(1)),
        ("SERIAL", Keep::Unless(2)),
    ];
    let ids = |n: usize| (0..n).map(|n| format!("spiffe://example.org/pay/{n}"));
    let long = format!("spiffe://example.org/pay/{}", "batch/".repeat(12));
    for short in [1, 2, 40] {
        let rows = ids(short).chain([long.clone()]).map(row);
        let text = Table::new(columns)
            .with(rows)
            .render(at(80), "")
            .to_string();
        assert!(text.starts_with("ID") && text.contains("SERIAL"), "{text}");
        assert!(!text.contains("--wide"), "{text}");
        assert!(text.lines().all(|line| line.width() <= 80), "{text}");
        assert_eq!(text.lines().count(), 1 + short + 2, "{text}");
    }
    // Where all are long, there is no room for it.
    let rows = (0..3).map(|_| row(long.clone()));
    let text = Table::new(columns)
        .with(rows)
        .render(at(80), "")
        .to_string();
    assert!(text.contains("--wide shows"), "{text}");
}

#[test]
fn wide_shows_everything() {
    let wide = Look {
        wide: true,
        ..at(200)
    };
    assert!(text(wide).contains("ENTITLEMENT") && text(wide).contains("reg-1"));
}

#[test]
fn what_has_no_room_is_wrapped_between_segments() {
    assert_eq!(
        text(at(22)),
        "ID\nspiffe://example.org/\npay/db\n--wide shows OWNER,\nSERIAL"
    );
}

#[test]
fn colours_are_around_words_alone() {
    let color = Look {
        color: true,
        ..Look::default()
    };
    let painted = text(color);
    assert!(
        painted.contains("\x1b[31m0a1b2c0000000007\x1b[0m"),
        "{painted:?}"
    );
    let plain = painted.replace("\x1b[31m", "").replace("\x1b[0m", "");
    assert_eq!(plain, text(Look::default()));
}

#[test]
fn a_cell_does_nothing_to_the_terminal() {
    let table = Table::new([("ID", Keep::Always)]).with([["\x1b[2Jx\u{202e}y\n".into()]]);
    let color = Look {
        color: true,
        ..Look::default()
    };
    let text = table.render(color, "").to_string();
    assert_eq!(text, "ID\n\\u{1b}[2Jx\\u{202e}y\\n");
}

proptest! {
    /// Whatever is in it, a table that may be narrowed fits, and loses nothing of what is shown.
    #[test]
    fn tables_fit_the_terminal(
        cells in proptest::collection::vec("[a-z/:é漢 ]{0,60}", 1..6),
        width in 22usize..220,
    ) {
        let rows = cells.iter().map(|text| [text.as_str().into(), "short".into()]);
        let columns = [("ID", Keep::Always), ("STATE", Keep::Always)];
        let table = Table::new(columns).with(rows).render(at(width), "").to_string();
        prop_assert!(table.lines().all(|line| line.width() <= width), "{table}");
        let squeezed = |text: &str| text.split_whitespace().collect::<String>();
        for cell in &cells {
            let wrapped: String = wrapped(cell, 12).concat();
            prop_assert_eq!(squeezed(&wrapped), squeezed(cell));
        }
    }
}
