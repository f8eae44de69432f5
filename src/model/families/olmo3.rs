//! OLMo 3: OLMo 2 with windows on three layers of four, whose rotation is not stretched.

use super::{ConfigJson, DecoderSpec, Family, NormNames, QkNorm, Result, layer_types, rope, with_ropes};

pub(super) const DEFAULTS: &str = r#"{"rms_norm_eps": 1e-5, "rope_theta": 500000.0, "sliding_window": 4096}"#;

pub(super) fn spec(c: &ConfigJson, architecture: &str) -> Result<DecoderSpec> {
    let ropes = rope::by_kind(c, ("rope_theta", 500_000.0))?;
    let base = with_ropes(c, architecture, Family::Olmo3, ropes)?;
    let (window, n) = (c.usize("sliding_window")?, base.num_layers());
    let every_fourth = || (0..n).map(|i| window.filter(|_| (i + 1) % 4 != 0)).collect();
    let windows = layer_types(c, n, window)?.unwrap_or_else(every_fourth);
    let bias = c.bool("attention_bias")?.unwrap_or(false);
    Ok(base.windows(windows).attention_bias(bias).each(|l| {
        l.norms = NormNames::AFTER;
        l.attention.qk_norm = QkNorm::Full;
        l.attention.rope = Some(usize::from(l.attention.window.is_some()));
    }))
}
