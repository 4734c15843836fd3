use super::*;

fn source(last: u8) -> Source {
    Source::of([192, 0, 2, last].into())
}

fn is_told_to_leave(connection: &Connection) -> bool {
    connection.door.leave.is_cancelled()
}

fn enter(connections: &Connections, last: u8) -> Connection {
    connections.enter(source(last), false).unwrap().connection
}

#[test]
fn at_the_limit_the_address_with_the_most_half_heads_loses_its_oldest() {
    let connections = Connections::new(5, 5);
    let few = [enter(&connections, 1), enter(&connections, 1)];
    let many = [enter(&connections, 2), enter(&connections, 2), enter(&connections, 2)];
    let entered = connections.enter(source(3), false).unwrap();
    assert!(entered.leaving.is_some() && is_told_to_leave(&many[0]));
    // Two and two now: the one whose oldest has waited longer.
    let _another = enter(&connections, 3);
    assert!(is_told_to_leave(&few[0]) && !is_told_to_leave(&many[1]));
    assert_eq!(connections.shared.lock().all, 5);
}

#[test]
fn of_half_heads_and_idle_connections_go_those_of_which_there_are_more_and_known_or_busy_ones_never() {
    let connections = Connections::new(6, 6);
    let [known, busy, first_idle, second_idle, third_idle, half] = [(); 6].map(|()| enter(&connections, 1));
    for connection in [&known, &busy, &first_idle, &second_idle, &third_idle] {
        connection.begins();
    }
    known.is_known();
    for connection in [&known, &first_idle, &second_idle, &third_idle] {
        connection.rests();
    }
    let next = enter(&connections, 1);
    assert!(is_told_to_leave(&first_idle), "three idle ones and a half head");
    let last = enter(&connections, 1);
    assert!(is_told_to_leave(&half) && !is_told_to_leave(&next), "two and two: half heads first");
    let _end = [(); 2].map(|()| enter(&connections, 1));
    assert!(is_told_to_leave(&next) && is_told_to_leave(&last), "the oldest first");
    assert!(!is_told_to_leave(&second_idle) && !is_told_to_leave(&third_idle));
    assert!(!is_told_to_leave(&known) && !is_told_to_leave(&busy));
}

#[test]
fn an_address_at_its_limit_makes_room_among_its_own_or_is_refused() {
    let connections = Connections::new(100, 2);
    let other = enter(&connections, 9);
    let [half, busy] = [(); 2].map(|()| enter(&connections, 1));
    busy.begins();
    let next = enter(&connections, 1);
    assert!(is_told_to_leave(&half) && !is_told_to_leave(&other));
    next.begins();
    next.is_known();
    assert_eq!(connections.enter(source(1), false).unwrap_err(), Crowded::Each { limit: 2 });
    assert!(connections.enter(source(1), true).is_ok(), "a proxy has no limit of its own");
}

#[test]
fn where_all_have_a_key_the_next_is_refused_and_who_leaves_makes_room() {
    let connections = Connections::new(2, 2);
    let known = [enter(&connections, 1), enter(&connections, 2)];
    known.iter().for_each(Connection::is_known);
    assert_eq!(connections.enter(source(3), false).unwrap_err(), Crowded::All { limit: 2 });
    assert!(connections.close_one().is_none());
    drop(known);
    drop(enter(&connections, 3));
    let open = connections.shared.lock();
    assert!(open.all == 0 && open.of.is_empty() && open.ranks.is_empty(), "who has left is forgotten: {open:?}");
}

#[test]
fn requests_that_are_answered_without_a_key_keep_no_other_address_out() {
    let connections = Connections::new(4, 4);
    let many = [(); 4].map(|()| enter(&connections, 1));
    many.iter().for_each(Connection::begins);
    assert_eq!(connections.enter(source(1), false).unwrap_err(), Crowded::Each { limit: 4 });
    let other = enter(&connections, 2);
    assert!(is_told_to_leave(&many[0]) && !is_told_to_leave(&other));
    many[1].is_known();
    let _another = enter(&connections, 3);
    assert!(!is_told_to_leave(&many[1]) && is_told_to_leave(&many[2]));
}

#[test]
fn a_proxy_is_taken_from_last() {
    let connections = Connections::new(3, 3);
    let proxied = [(); 2].map(|()| connections.enter(source(1), true).unwrap().connection);
    let direct = enter(&connections, 2);
    let next = enter(&connections, 3);
    assert!(is_told_to_leave(&direct));
    next.is_known();
    let _last = enter(&connections, 4);
    assert!(is_told_to_leave(&proxied[0]), "there is nothing else");
}

#[test]
fn who_was_told_to_leave_has_no_place_left_to_give_up() {
    let connections = Connections::new(1, 1);
    let first = enter(&connections, 1);
    let second = enter(&connections, 2);
    assert!(is_told_to_leave(&first));
    first.begins();
    first.is_known();
    first.rests();
    drop(first);
    assert_eq!(connections.shared.lock().all, 1);
    drop(second);
    assert_eq!(connections.shared.lock().all, 0);
}
