#![allow(clippy::print_stdout)]
use std::path::Path;
use tallow::app::recipe;
use tallow::train::Event;
fn main() {
    let a: Vec<String> = std::env::args().collect();
    if a[1] == "show" {
        for d in recipe::documents(5, 40) {
            println!("-----\n{d}");
        }
        for r in recipe::demo_rows(5, recipe::Part::Train, 30) {
            println!("{r}");
        }
        return;
    }
    let mut obs = |e: &Event| match e {
        Event::Step { step, loss, tokens_per_second, grad_norm, elapsed, .. } if step % 20 == 0 => {
            println!("{step} loss {loss:.4} gn {grad_norm:.2} {tokens_per_second:.0} tok/s {elapsed:.0}s")
        }
        Event::Eval { step, loss, accuracy, .. } => println!("EVAL {step} {loss:.4} acc {accuracy:.4}"),
        _ => {}
    };
    let r = recipe::run(Path::new(&a[1]), a.get(2).map(|s| s.parse().unwrap()), &mut obs).unwrap();
    println!("{}", serde_json::to_string_pretty(&r).unwrap());
}
