use super::*;

fn address(last: u8) -> ClientAddress {
    ClientAddress::from_ip([192, 0, 2, last].into())
}

fn must_close(connection: &Connection) -> bool {
    connection.signal.close.is_cancelled()
}

fn accept(connections: &ConnectionTable, last: u8) -> Connection {
    connections.accept(address(last), false).unwrap().connection
}

#[test]
fn at_the_limit_the_address_with_the_most_half_heads_loses_its_oldest() {
    let connections = ConnectionTable::new(5, 5);
    let few = [accept(&connections, 1), accept(&connections, 1)];
    let many = [accept(&connections, 2), accept(&connections, 2), accept(&connections, 2)];
    let accepted = connections.accept(address(3), false).unwrap();
    assert!(accepted.closing.is_some() && must_close(&many[0]));
    // Two and two now: the one whose oldest has waited longer.
    let _another = accept(&connections, 3);
    assert!(must_close(&few[0]) && !must_close(&many[1]));
    assert_eq!(connections.shared.lock().total, 5);
}

#[test]
fn the_larger_kind_of_half_open_and_idle_connections_loses_one_and_authenticated_or_busy_ones_never_close() {
    let connections = ConnectionTable::new(6, 6);
    let [known, busy, first_idle, second_idle, third_idle, half] = [(); 6].map(|()| accept(&connections, 1));
    for connection in [&known, &busy, &first_idle, &second_idle, &third_idle] {
        connection.request_started();
    }
    known.mark_authenticated();
    for connection in [&known, &first_idle, &second_idle, &third_idle] {
        connection.request_answered();
    }
    let next = accept(&connections, 1);
    assert!(must_close(&first_idle), "three idle ones and a half head");
    let last = accept(&connections, 1);
    assert!(must_close(&half) && !must_close(&next), "two and two: half heads first");
    let _end = [(); 2].map(|()| accept(&connections, 1));
    assert!(must_close(&next) && must_close(&last), "the oldest first");
    assert!(!must_close(&second_idle) && !must_close(&third_idle));
    assert!(!must_close(&known) && !must_close(&busy));
}

#[test]
fn an_address_at_its_limit_makes_room_among_its_own_or_is_refused() {
    let connections = ConnectionTable::new(100, 2);
    let other = accept(&connections, 9);
    let [half, busy] = [(); 2].map(|()| accept(&connections, 1));
    busy.request_started();
    let next = accept(&connections, 1);
    assert!(must_close(&half) && !must_close(&other));
    next.request_started();
    next.mark_authenticated();
    assert_eq!(connections.accept(address(1), false).unwrap_err(), TooManyConnections::FromAddress);
    assert!(connections.accept(address(1), true).is_ok(), "a proxy has no limit of its own");
}

#[test]
fn where_all_are_authenticated_the_next_is_rejected_and_a_closed_one_makes_room() {
    let connections = ConnectionTable::new(2, 2);
    let known = [accept(&connections, 1), accept(&connections, 2)];
    known.iter().for_each(Connection::mark_authenticated);
    assert_eq!(connections.accept(address(3), false).unwrap_err(), TooManyConnections::InTotal);
    assert!(connections.close_one().is_none());
    drop(known);
    drop(accept(&connections, 3));
    let open = connections.shared.lock();
    assert!(
        open.total == 0 && open.by_address.is_empty() && open.ranks.is_empty(),
        "an address without a connection has no entry: {open:?}"
    );
}

#[test]
fn requests_that_are_answered_without_a_key_keep_no_other_address_out() {
    let connections = ConnectionTable::new(4, 4);
    let many = [(); 4].map(|()| accept(&connections, 1));
    many.iter().for_each(Connection::request_started);
    assert_eq!(connections.accept(address(1), false).unwrap_err(), TooManyConnections::FromAddress);
    let other = accept(&connections, 2);
    assert!(must_close(&many[0]) && !must_close(&other));
    many[1].mark_authenticated();
    let _another = accept(&connections, 3);
    assert!(!must_close(&many[1]) && must_close(&many[2]));
}

#[test]
fn a_proxy_is_taken_from_last() {
    let connections = ConnectionTable::new(3, 3);
    let proxied = [(); 2].map(|()| connections.accept(address(1), true).unwrap().connection);
    let direct = accept(&connections, 2);
    let next = accept(&connections, 3);
    assert!(must_close(&direct));
    next.mark_authenticated();
    let _last = accept(&connections, 4);
    assert!(must_close(&proxied[0]), "there is nothing else");
}

#[test]
fn a_connection_that_was_asked_to_close_is_discounted_once() {
    let connections = ConnectionTable::new(1, 1);
    let first = accept(&connections, 1);
    let second = accept(&connections, 2);
    assert!(must_close(&first));
    first.request_started();
    first.mark_authenticated();
    first.request_answered();
    drop(first);
    assert_eq!(connections.shared.lock().total, 1);
    drop(second);
    assert_eq!(connections.shared.lock().total, 0);
}
