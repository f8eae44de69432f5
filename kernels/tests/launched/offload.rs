//! Tensors sent to host memory and back.

use candle_core::DType;
use tallow_kernels::elementwise::add;
use tallow_kernels::offload::{Offload, buffer_bytes, host_bytes};

use crate::place::agree;

/// Every dtype of an activation, beside work that is queued meanwhile and memory that is used again.
#[test]
fn what_comes_back_is_what_was_sent() {
    agree("offload", |inputs| {
        let offload = Offload::new(inputs.device())?;
        let (a, b) = (inputs.x(&[37, 24], 1).copy()?, inputs.f(&[5, 3], 2));
        let mask = b.gt(0.0)?;
        assert_eq!(mask.dtype(), DType::U8);
        let sum = add(&a, &a)?;
        let mut back = Vec::new();
        for _ in 0..2 {
            let first = offload.send(vec![a.copy()?, b.copy()?, mask.copy()?])?;
            // Runs beside the copies, into memory of its own.
            let other = add(&sum, &sum)?;
            let first = first.settle()?;
            let second = offload.send(vec![other])?.settle()?;
            assert!(host_bytes() >= buffer_bytes([60, 15]));
            let second = second.fetch()?;
            let first = first.fetch()?;
            let third = add(&sum, &a)?;
            back.extend(second.arrive()?);
            back.extend(first.arrive()?);
            back.push(third);
        }
        // Thrown away half way.
        drop(offload.send(vec![a.copy()?])?);
        drop(offload.send(vec![a.copy()?])?.settle()?.fetch()?);
        Ok(back)
    });
}
