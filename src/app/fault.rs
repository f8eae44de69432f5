//! The rooms' own errors as faults.

use crate::base::error::Fault;
use crate::data::DataError;
use crate::model;
use crate::train::TrainError;

fn fault(code: &'static str, message: String, hint: Option<String>) -> Fault {
    let fault = Fault::new(code, message);
    match hint {
        Some(hint) => fault.hint(hint),
        None => fault,
    }
}

impl From<DataError> for Fault {
    fn from(e: DataError) -> Self {
        fault(e.code(), e.to_string(), e.hint())
    }
}

impl From<model::Error> for Fault {
    fn from(e: model::Error) -> Self {
        if let model::Error::Io { path, source } = &e {
            return Fault::io("use", path, source);
        }
        fault(e.code(), e.to_string(), e.hint().map(str::to_owned))
    }
}

impl From<TrainError> for Fault {
    fn from(e: TrainError) -> Self {
        match e {
            TrainError::Model(e) => e.into(),
            TrainError::Data(e) => e.into(),
            TrainError::Kernel(e) => e.into(),
            TrainError::Candle(e) => e.into(),
            e => fault(e.code(), e.to_string(), e.hint()),
        }
    }
}

impl From<tallow_kernels::Error> for Fault {
    fn from(e: tallow_kernels::Error) -> Self {
        model::Error::from(e).into()
    }
}

impl From<candle_core::Error> for Fault {
    fn from(e: candle_core::Error) -> Self {
        model::Error::from(e).into()
    }
}
