//! Calls the project's library: evaluates each line that it reads, and prints the result.
//!
//! It is compiled and runs in the project's cell. What it prints is compared elsewhere.

use std::io::BufRead;

fn main() {
    for line in std::io::stdin().lock().lines() {
        println!("{:?}", rpn::evaluate(&line.unwrap()));
    }
}
