//! What `countersign store` shows of a database, and of what it did.

use std::path::PathBuf;

use countersign_store::copy::Copied;
use countersign_store::postgres::Checked;
use serde::Serialize;

#[derive(Serialize)]
pub(super) struct Found {
    database: String,
    server_version: String,
    tls: Option<String>,
    role: String,
    superuser: bool,
    schema: Option<i32>,
    known_schema: i32,
    pub(super) usable: bool,
    commits: Option<u64>,
    entries: Option<u64>,
    logs: Vec<Log>,
    replicas: Vec<String>,
    durable: bool,
    synchronous_standbys: String,
    notifies: bool,
    round_trip_us: u128,
}

/// An issuance log that the database keeps.
#[derive(Serialize)]
struct Log {
    log_id: u32,
    entries: u64,
}

impl Log {
    fn new((log_id, entries): (u32, u64)) -> Self {
        Self { log_id, entries }
    }

    fn text(&self) -> String {
        format!("{} with {} entries", self.log_id, self.entries)
    }
}

impl Found {
    pub(super) fn new(found: Checked) -> Self {
        Self {
            database: found.database,
            server_version: found.server,
            tls: found.tls,
            role: found.role,
            superuser: found.is_superuser,
            schema: found.schema,
            known_schema: found.known_schema,
            usable: found.is_usable && found.is_durable,
            commits: found.newest.map(|seq| seq.0),
            entries: found.entries,
            logs: found.logs.into_iter().map(Log::new).collect(),
            replicas: found.writers,
            durable: found.is_durable,
            synchronous_standbys: found.synchronous_standbys,
            notifies: found.notifies,
            round_trip_us: found.round_trip.as_micros(),
        }
    }

    pub(super) fn text(&self) -> String {
        let mut lines = vec![
            format!("database      {}", self.database),
            format!("server        PostgreSQL {}", self.server_version),
            format!(
                "encrypted     {}",
                self.tls
                    .as_deref()
                    .unwrap_or("no: nothing leaves this machine")
            ),
            format!("role          {}{}", self.role, self.too_much()),
            format!("schema        {}", self.schema()),
            format!("content       {}", self.content()),
            format!("durable       {}", self.durability()),
            format!(
                "follows       {}",
                if self.notifies {
                    "by notices"
                } else {
                    "by questions: this server sends no notices"
                }
            ),
            format!("round trip    {} µs", self.round_trip_us),
        ];
        if !self.logs.is_empty() {
            let logs: Vec<_> = self.logs.iter().map(Log::text).collect();
            lines.insert(6, format!("logs          {}", logs.join(", ")));
        }
        lines.push(match self.usable {
            true => "a control plane can use it".to_owned(),
            false => format!("a control plane cannot use it: {}", self.obstacle()),
        });
        lines.join("\n")
    }

    fn too_much(&self) -> &'static str {
        match self.superuser {
            true => ", a superuser: a role that owns one database is enough",
            false => "",
        }
    }

    fn schema(&self) -> String {
        match self.schema {
            None => "none yet: a first start makes it, or `countersign store migrate`".to_owned(),
            Some(version) => format!("{version}, this program knows {}", self.known_schema),
        }
    }

    fn content(&self) -> String {
        let (Some(commits), Some(entries)) = (self.commits, self.entries) else {
            return "nothing".to_owned();
        };
        let replicas = match self.replicas.is_empty() {
            true => "nobody has written yet".to_owned(),
            false => format!("written by {}", self.replicas.join(", ")),
        };
        format!("{entries} entries of {commits} commits, {replicas}")
    }

    fn durability(&self) -> String {
        match (self.durable, self.synchronous_standbys.as_str()) {
            (false, _) => "no: fsync, full_page_writes or synchronous_commit is off".to_owned(),
            (true, "") => {
                "on one server: a commit waits for no standby, so a failover may lose the newest and \
                 stops who wrote them (synchronous_standby_names)"
                    .to_owned()
            }
            (true, names) => format!("a commit waits for {names}"),
        }
    }

    fn obstacle(&self) -> &'static str {
        match self.durable {
            false => "it acknowledges what a crash takes back",
            true if self.schema.is_none() => "it has no tables yet; `countersign store migrate`",
            true => "its schema is not the one of this program; `countersign store migrate`",
        }
    }
}

#[derive(Serialize)]
pub(super) struct Migrated {
    pub(super) from: Option<i32>,
    pub(super) to: i32,
    pub(super) granted_to: Option<String>,
}

impl Migrated {
    pub(super) fn text(&self) -> String {
        let done = match self.from {
            None => format!("tables of version {} made", self.to),
            Some(from) if from >= self.to => format!("version {from}: nothing to do"),
            Some(from) => format!("version {from} became {}", self.to),
        };
        match &self.granted_to {
            None => done,
            Some(role) => format!("{done}; {role} may use them"),
        }
    }
}

#[derive(Serialize)]
pub(super) struct Moved {
    from: String,
    to: String,
    entries: usize,
    commits: u64,
    set_aside: Option<PathBuf>,
}

impl Moved {
    pub(super) fn new(from: String, to: String, copied: Copied) -> Self {
        Self {
            from,
            to,
            entries: copied.entries,
            commits: copied.seq.0,
            set_aside: copied.set_aside,
        }
    }

    pub(super) fn text(&self) -> String {
        let mut text = format!(
            "{} entries as of commit {} copied to {}, and compared one by one",
            self.entries, self.commits, self.to
        );
        match &self.set_aside {
            Some(path) => text.push_str(&format!(
                "\nthe state that was copied is now {}\nset store.url and start the control plane",
                path.display()
            )),
            None => text.push_str(
                "\nthe database says that its state was moved\nremove store.url and start the control plane",
            ),
        }
        text
    }
}

#[cfg(test)]
mod tests;
