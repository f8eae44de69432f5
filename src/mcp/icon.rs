//! The icons that clients may show: small drawings, inside the answer itself.

use base64::Engine as _;
use rmcp::model::Icon;

fn drawing(path: &str) -> Icon {
    let svg = format!(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 24 24' fill='none' stroke='#888' stroke-width='2'>\
         <path d='{path}'/></svg>"
    );
    let data = base64::engine::general_purpose::STANDARD.encode(svg);
    Icon::new(format!("data:image/svg+xml;base64,{data}")).with_mime_type("image/svg+xml").with_sizes(vec!["any".into()])
}

/// A candle.
pub(super) fn tallow() -> Icon {
    drawing("M9 10h6v11H9zM12 10V7M12 2c2 2 2 4 0 5-2-1-2-3 0-5")
}

/// A curve that falls: a run.
pub(super) fn run() -> Icon {
    drawing("M3 3v18h18M6 6c3 8 7 10 13 11")
}

/// Boxes: models, and a chip for devices.
pub(super) fn model() -> Icon {
    drawing("M12 2l9 5v10l-9 5-9-5V7zM3 7l9 5 9-5M12 12v10")
}

/// A chip.
pub(super) fn device() -> Icon {
    drawing("M6 6h12v12H6zM9 2v4M15 2v4M9 18v4M15 18v4M2 9h4M2 15h4M18 9h4M18 15h4")
}

/// A table.
pub(super) fn dataset() -> Icon {
    drawing("M3 4h18v16H3zM3 9h18M3 14h18M9 4v16")
}
