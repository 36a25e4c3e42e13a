//! The kinds of values that a key can have, each with its bounds and its remedy.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use toml::Value;

use super::Reader;
use super::written::wrong_type;
use crate::duration;

impl Reader {
    /// A duration such as `"1h"`, `"90s"`, `"3650d"`, within bounds.
    pub fn duration(
        &mut self,
        key: &str,
        default: Duration,
        bounds: RangeInclusive<Duration>,
    ) -> Duration {
        let remedy = format!(
            "write a duration from \"{}\" to \"{}\"",
            duration::format(*bounds.start()),
            duration::format(*bounds.end())
        );
        self.optional(key, &remedy, |text| {
            let value = duration::parse(text).map_err(|e| e.to_string())?;
            within(value, &bounds)
        })
        .unwrap_or(default)
    }

    /// A number within bounds.
    pub fn float(&mut self, key: &str, default: f64, bounds: RangeInclusive<f64>) -> f64 {
        let remedy = format!("write a number from {} to {}", bounds.start(), bounds.end());
        let Some(value) = self.lookup(key) else {
            return default;
        };
        let number = match &value {
            Value::Float(number) => Some(*number),
            #[allow(clippy::cast_precision_loss, reason = "bounds are far below 2^53")]
            Value::Integer(number) => Some(*number as f64),
            _ => None,
        };
        let parsed = number
            .ok_or_else(|| wrong_type("a number", &value))
            .and_then(|number| within(number, &bounds));
        self.accept(key, &value, &remedy, parsed).unwrap_or(default)
    }

    /// A whole number within bounds.
    pub fn integer(&mut self, key: &str, default: u64, bounds: RangeInclusive<u64>) -> u64 {
        let remedy = format!(
            "write a whole number from {} to {}",
            bounds.start(),
            bounds.end()
        );
        let Some(value) = self.lookup(key) else {
            return default;
        };
        let parsed = match &value {
            Value::Integer(number) => u64::try_from(*number)
                .map_err(|_| "is out of bounds".to_owned())
                .and_then(|number| within(number, &bounds)),
            other => Err(wrong_type("a whole number", other)),
        };
        self.accept(key, &value, &remedy, parsed).unwrap_or(default)
    }

    /// A boolean.
    pub fn boolean(&mut self, key: &str, default: bool) -> bool {
        match self.lookup(key) {
            None => default,
            Some(Value::Boolean(value)) => value,
            Some(other) => {
                let problem = wrong_type("a boolean", &other);
                self.mistake(key, problem, "write true or false, without quotes");
                default
            }
        }
    }

    /// A text that is not empty.
    pub fn string(&mut self, key: &str, default: &str) -> String {
        self.optional(key, "write a text", |text| match text {
            "" => Err("is empty".to_owned()),
            text => Ok(text.to_owned()),
        })
        .unwrap_or_else(|| default.to_owned())
    }

    /// A socket address.
    pub fn address(&mut self, key: &str, default: Option<SocketAddr>) -> Option<SocketAddr> {
        let remedy = "write an IP address and a port, such as \"127.0.0.1:8443\"";
        self.optional(key, remedy, |text| {
            text.parse()
                .map_err(|_| "is not an IP address with a port".to_owned())
        })
        .or(default)
    }
}

fn within<T: PartialOrd>(value: T, bounds: &RangeInclusive<T>) -> Result<T, String> {
    if bounds.contains(&value) {
        Ok(value)
    } else {
        Err("is out of bounds".to_owned())
    }
}
