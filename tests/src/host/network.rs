//! The networks of a host: a pair of interfaces each, one at the test and one at the host.
//!
//! A network is cut in the neighbour tables of both ends, by a hardware address that nobody has: what is
//! sent goes out and is received by nobody. Neither side hears of it, as where a switch has died: no
//! reset, no error, for connections that are open and for new ones. It needs nothing of the kernel that a
//! packet filter or `tc` would.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// What is reached over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// Sidecars reach a control plane.
    Sidecars,
    /// A control plane reaches the database.
    Database,
}

/// 198.18.0.0/15 is for tests of networks (RFC 2544); a network takes four addresses of it.
const FIRST: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 0);
const NETWORKS: u32 = 1 << 15;
/// Nobody has it.
const NOWHERE: &str = "02:00:00:00:00:00";

static MADE: AtomicUsize = AtomicUsize::new(0);

/// Both ends of a network.
#[derive(Debug)]
pub(super) struct Link {
    network: Network,
    /// The name of our interface. The host's has that of the network.
    interface: String,
    near: Ipv4Addr,
    far: Ipv4Addr,
}

impl Network {
    const ALL: [Self; 2] = [Self::Sidecars, Self::Database];

    fn name(self) -> &'static str {
        match self {
            Self::Sidecars => "sidecars",
            Self::Database => "database",
        }
    }
}

impl Host {
    pub(super) fn connect(&mut self) -> Result<()> {
        self.ip_there("link set lo up")?;
        for network in Network::ALL {
            let link = self.link(network)?;
            self.links.push(link);
        }
        Ok(())
    }

    fn link(&self, network: Network) -> Result<Link> {
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let interface = format!("cs{}-{number}", std::process::id());
        let (its, holder) = (network.name(), self.holder.pid().as_raw_pid());
        ip(&format!(
            "link add {interface} type veth peer name {its} netns {holder}"
        ))?;
        // The kernel gives each interface another number, and so each network other addresses.
        let index = std::fs::read_to_string(format!("/sys/class/net/{interface}/ifindex"))?;
        let place = (index.trim().parse::<u32>()? % NETWORKS) * 4;
        let [near, far] = [1, 2].map(|end| Ipv4Addr::from(u32::from(FIRST) + place + end));
        ip(&format!("addr add {near}/30 dev {interface}"))?;
        ip(&format!("link set {interface} up"))?;
        self.ip_there(&format!("addr add {far}/30 dev {its}"))?;
        self.ip_there(&format!("link set {its} up"))?;
        Ok(Link {
            network,
            interface,
            near,
            far,
        })
    }

    /// Its own address in a network.
    pub fn address(&self, network: Network) -> IpAddr {
        self.link_of(network).far.into()
    }

    /// Where it reaches, over a network, what runs beside the test.
    pub fn gateway(&self, network: Network) -> IpAddr {
        self.link_of(network).near.into()
    }

    /// From now on, what either end sends over a network is lost.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn cut(&self, network: Network) -> Result<()> {
        let Link {
            interface,
            near,
            far,
            ..
        } = self.link_of(network);
        let (its, lost) = (network.name(), format!("lladdr {NOWHERE} nud permanent"));
        ip(&format!("neigh replace {far} {lost} dev {interface}"))?;
        self.ip_there(&format!("neigh replace {near} {lost} dev {its}"))
    }

    /// A network that was cut carries again.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn heal(&self, network: Network) -> Result<()> {
        let Link {
            interface,
            near,
            far,
            ..
        } = self.link_of(network);
        ip(&format!("neigh del {far} dev {interface}"))?;
        self.ip_there(&format!("neigh del {near} dev {}", network.name()))
    }

    fn link_of(&self, network: Network) -> &Link {
        let mut links = self.links.iter();
        let found = links.find(|link| link.network == network);
        found.expect("a host has every network")
    }

    fn ip_there(&self, arguments: &str) -> Result<()> {
        let there = format!("--net={}", namespace(&self.holder, "net").display());
        let mut command = Blocking::new("nsenter");
        succeed(command.args([&there, "ip"]).args(arguments.split(' ')))
    }
}

fn ip(arguments: &str) -> Result<()> {
    succeed(Blocking::new("ip").args(arguments.split(' ')))
}
