//! The kinds of values that a key can have, each with its bounds and its remedy.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use toml::Value;

use super::written::wrong_type;
use super::{Bounds, Key, Reader};
use crate::config::setting::Origin;
use crate::duration;

impl Reader {
    /// A duration such as `"1h"`, `"90s"`, `"3650d"`, within bounds.
    pub fn duration(
        &mut self,
        key: &Key,
        default: Duration,
        bounds: RangeInclusive<Duration>,
    ) -> Duration {
        let remedy = format!(
            "write a duration from \"{}\" to \"{}\"",
            duration::format(*bounds.start()),
            duration::format(*bounds.end())
        );
        let read = self.parsed(key.name, &remedy, |text| {
            let value = duration::parse(text).map_err(|e| e.to_string())?;
            within(value, &bounds)
        });
        let value = read.unwrap_or(default);
        let json = |it: Duration| duration::format(it).into();
        let bounds = Bounds::Range(json(*bounds.start()), json(*bounds.end()));
        let (shown, default) = (json(value), json(default));
        self.note(key, "duration", Some(shown), Some(default), bounds);
        value
    }

    /// A [duration](Self::duration) without a default.
    pub fn optional_duration(
        &mut self,
        key: &Key,
        bounds: RangeInclusive<Duration>,
    ) -> Option<Duration> {
        let is_written = self.contains(key);
        let value = self.duration(key, *bounds.end(), bounds);
        if let Some(setting) = self.settings.last_mut() {
            setting.default = None;
            if !is_written {
                (setting.value, setting.origin) = (None, Origin::Unset);
            }
        }
        is_written.then_some(value)
    }

    /// A number within bounds.
    pub fn float(&mut self, key: &Key, default: f64, bounds: RangeInclusive<f64>) -> f64 {
        let remedy = format!("write a number from {} to {}", bounds.start(), bounds.end());
        let written = self.lookup(key.name);
        let read = written.and_then(|value| {
            let number = match &value {
                Value::Float(number) => Some(*number),
                #[allow(clippy::cast_precision_loss, reason = "bounds are far below 2^53")]
                Value::Integer(number) => Some(*number as f64),
                _ => None,
            };
            let parsed = number
                .ok_or_else(|| wrong_type("a number", &value))
                .and_then(|number| within(number, &bounds));
            self.accept(key.name, &value, &remedy, parsed)
        });
        let value = read.unwrap_or(default);
        let range = Bounds::Range((*bounds.start()).into(), (*bounds.end()).into());
        let (shown, default) = (value.into(), default.into());
        self.note(key, "number", Some(shown), Some(default), range);
        value
    }

    /// A whole number within bounds.
    pub fn integer(&mut self, key: &Key, default: u64, bounds: RangeInclusive<u64>) -> u64 {
        let remedy = format!(
            "write a whole number from {} to {}",
            bounds.start(),
            bounds.end()
        );
        let written = self.lookup(key.name);
        let read = written.and_then(|value| {
            let parsed = match &value {
                Value::Integer(number) => u64::try_from(*number)
                    .map_err(|_| "is out of bounds".to_owned())
                    .and_then(|number| within(number, &bounds)),
                other => Err(wrong_type("a whole number", other)),
            };
            self.accept(key.name, &value, &remedy, parsed)
        });
        let value = read.unwrap_or(default);
        let range = Bounds::Range((*bounds.start()).into(), (*bounds.end()).into());
        let (shown, default) = (value.into(), default.into());
        self.note(key, "whole number", Some(shown), Some(default), range);
        value
    }

    /// A boolean.
    pub fn boolean(&mut self, key: &Key, default: bool) -> bool {
        let value = match self.lookup(key.name) {
            None => default,
            Some(Value::Boolean(value)) => value,
            Some(other) => {
                let problem = wrong_type("a boolean", &other);
                self.mistake(key, problem, "write true or false, without quotes");
                default
            }
        };
        let (shown, default) = (value.into(), default.into());
        self.note(key, "boolean", Some(shown), Some(default), Bounds::Any);
        value
    }

    /// A text that `parse` accepts.
    pub fn text(
        &mut self,
        key: &Key,
        default: &str,
        remedy: &str,
        parse: impl FnOnce(&str) -> Result<(), String>,
    ) -> String {
        self.note_written(key, "text", Some(default.into()), Bounds::Any);
        let read = self.parsed(key.name, remedy, |text| {
            parse(text).map(|()| text.to_owned())
        });
        read.unwrap_or_else(|| default.to_owned())
    }

    /// A socket address.
    pub fn address(&mut self, key: &Key, default: SocketAddr) -> Option<SocketAddr> {
        let default_text = default.to_string().into();
        self.note_written(key, ADDRESS, Some(default_text), Bounds::Any);
        let is_written = self.contains(key);
        let read = self.parsed(key.name, ADDRESS_REMEDY, parse_address);
        read.or((!is_written).then_some(default))
    }

    /// A socket address that has to be written.
    pub fn required_address(&mut self, key: &Key) -> Option<SocketAddr> {
        self.note_required(key, ADDRESS, Bounds::Any);
        self.demand(key.name, ADDRESS_REMEDY);
        self.parsed(key.name, ADDRESS_REMEDY, parse_address)
    }
}

const ADDRESS: &str = "IP address and port";
const ADDRESS_REMEDY: &str = "write an IP address and a port, such as \"127.0.0.1:8080\"";

fn parse_address(text: &str) -> Result<SocketAddr, String> {
    let problem = |_| "is not an IP address with a port".to_owned();
    text.parse().map_err(problem)
}

fn within<T: PartialOrd>(value: T, bounds: &RangeInclusive<T>) -> Result<T, String> {
    if bounds.contains(&value) {
        Ok(value)
    } else {
        Err("is out of bounds".to_owned())
    }
}
