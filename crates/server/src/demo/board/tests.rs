//! What happens when two people change the same card, and when one change comes twice.

use super::*;

fn asked(key: &str, by: &str, id: &str, base: (u64, u64), what: What) -> Change {
    let base = Base { moved: base.0, edited: base.1 };
    Change { key: key.into(), by: by.into(), id: id.into(), base, what }
}

fn to(column: Column, after: Option<&str>) -> What {
    What::Move { column, after: after.map(str::to_owned) }
}

fn text(title: &str) -> What {
    What::Edit { title: title.into(), note: String::new() }
}

fn card(title: &str, after: Option<&str>) -> What {
    let after = after.map(str::to_owned);
    What::Add { title: title.into(), note: String::new(), column: Column::Next, after }
}

/// The cards of a column from the top.
fn column(board: &Board, column: Column) -> Vec<&str> {
    let mut cards: Vec<&Card> = board.cards.iter().filter(|card| card.column == column).collect();
    cards.sort_by_key(|card| card.place);
    cards.iter().map(|card| &*card.id).collect()
}

fn told_late(declined: Declined) -> String {
    match declined {
        Declined::Late(late) => late.detail,
        other => panic!("{other:?}"),
    }
}

#[test]
fn of_two_moves_the_first_is_taken_and_the_other_is_told_who_was_first() {
    let mut board = Board::first();
    board.change(asked("a", "Ada", "gauge", (0, 0), to(Column::Done, None))).unwrap();
    let late = board.change(asked("b", "Ben", "gauge", (0, 0), to(Column::Doing, None))).unwrap_err();
    let Declined::Late(late) = late else { panic!("{late:?}") };
    assert_eq!((late.detail.as_str(), late.status), ("Ada moved it first", 409));
    assert_eq!(late.card.unwrap().column, Column::Done);
    assert_eq!(board.version, 1);
    board.change(asked("c", "Ben", "gauge", (1, 0), to(Column::Doing, None))).unwrap();
}

#[test]
fn a_move_and_an_edit_do_not_disturb_each_other_and_a_deletion_minds_both() {
    let mut board = Board::first();
    board.change(asked("a", "Ada", "gauge", (0, 0), to(Column::Done, None))).unwrap();
    board.change(asked("b", "Ben", "gauge", (0, 0), text("Read it twice"))).unwrap();
    for seen in [(1, 0), (0, 2)] {
        board.change(asked("c", "Cem", "gauge", seen, What::Delete)).unwrap_err();
    }
    board.change(asked("c", "Cem", "gauge", (1, 2), What::Delete)).unwrap();
    let late = board.change(asked("d", "Ada", "gauge", (1, 2), text("Thrice"))).unwrap_err();
    assert_eq!(told_late(late), "Cem deleted it first");
}

#[test]
fn a_change_that_comes_twice_happens_once() {
    let mut board = Board::first();
    let add = || asked("a", "Ada", "new", (0, 0), card("New", None));
    let told = board.change(add()).unwrap();
    board.change(asked("b", "Ben", "new", (1, 1), to(Column::Doing, None))).unwrap();
    let Err(Declined::Done(again)) = board.change(add()) else { panic!() };
    assert_eq!((told.version, again.version, board.version), (1, 1, 2));
    assert_eq!(again.card.unwrap().column, Column::Doing);
}

#[test]
fn what_is_told_again_says_how_its_column_was_numbered() {
    let mut board = Board::default();
    board.change(asked("first", "Ada", "first", (0, 0), card("First", None))).unwrap();
    let add =
        |n: u32| asked(&format!("n{n}"), "Ada", &format!("n{n}"), (0, 0), card("Between", Some("first")));
    let numbered_anew = (0..60).find(|n| !board.change(add(*n)).unwrap().places.is_empty()).unwrap();
    let Err(Declined::Done(again)) = board.change(add(numbered_anew)) else { panic!() };
    let mut told = again.places;
    told.sort_by_key(|(_, place)| *place);
    assert_eq!(told.iter().map(|(id, _)| &**id).collect::<Vec<_>>(), column(&board, Column::Next));
    let places = |id: &str| board.cards.iter().find(|card| card.id == id).map(|card| card.place);
    assert!(told.iter().all(|(id, place)| places(id) == Some(*place)));
}

#[test]
fn cards_stand_where_they_are_put_however_often_there_is_no_room() {
    let mut board = Board::default();
    board.change(asked("first", "Ada", "first", (0, 0), card("First", None))).unwrap();
    board.change(asked("last", "Ada", "last", (0, 0), card("Last", Some("first")))).unwrap();
    let mut numbered_anew = 0;
    for n in 0..60 {
        let id = format!("n{n}");
        let told = board.change(asked(&id, "Ada", &id, (0, 0), card("Between", Some("first")))).unwrap();
        numbered_anew += usize::from(!told.places.is_empty());
    }
    assert!(numbered_anew > 0);
    let newest_first: Vec<String> = (0..60).rev().map(|n| format!("n{n}")).collect();
    let mut expected = vec!["first"];
    expected.extend(newest_first.iter().map(String::as_str));
    expected.push("last");
    assert_eq!(column(&board, Column::Next), expected);
    let last = (board.version, board.version);
    board.change(asked("end", "Ada", "first", last, to(Column::Next, Some("nobody")))).unwrap();
    assert_eq!(column(&board, Column::Next).last(), Some(&"first"));
    board.change(asked("top", "Ada", "last", last, to(Column::Next, None))).unwrap();
    assert_eq!(column(&board, Column::Next).first(), Some(&"last"));
}

#[test]
fn a_board_has_room_for_so_many_cards_and_remembers_so_many_changes() {
    let mut board = Board::default();
    for n in 0..CARDS_MAX {
        let id = format!("n{n}");
        board.change(asked(&id, "Ada", &id, (0, 0), card("One more", None))).unwrap();
    }
    assert!(matches!(
        board.change(asked("x", "Ada", "x", (0, 0), card("Too many", None))),
        Err(Declined::Refused(_))
    ));
    for n in 0..DONE_MAX + 1 {
        board.change(asked(&format!("e{n}"), "Ada", "n0", (u64::MAX, u64::MAX), text("Again"))).unwrap();
    }
    assert_eq!(board.done.len(), DONE_MAX);
}

#[test]
fn what_no_page_sends_is_refused() {
    let long = "x".repeat(TITLE_CHARS_MAX + 1);
    let bad = [
        asked("", "Ada", "a", (0, 0), What::Delete),
        asked("a b", "Ada", "a", (0, 0), What::Delete),
        asked("a", "Ada", &"x".repeat(TOKEN_BYTES_MAX + 1), (0, 0), What::Delete),
        asked("a", " ", "a", (0, 0), What::Delete),
        asked("a", "Ada", "a", (0, 0), text("  ")),
        asked("a", "Ada", "a", (0, 0), text(&long)),
    ];
    for change in bad {
        assert_eq!(change.clone().checked().unwrap_err().reason, Reason::BadRequest, "{change:?}");
    }
    let from_json = r#"{"key":"k","by":" Ada ","id":"a","base":{"moved":1,"edited":2},"what":"move","column":"done","after":null}"#;
    let change: Change = serde_json::from_str(from_json).unwrap();
    assert_eq!(change.checked().unwrap().by, "Ada");
}
