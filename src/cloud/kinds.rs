//! What the service speaks of: the part of its documents that is used here. Unknown fields are
//! passed over, so that a field that is added there breaks nothing here.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How a pod stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum PodStatus {
    /// It is being placed on a machine.
    Provisioning,
    /// Its container starts.
    Starting,
    /// Its container runs.
    Running,
    /// It is stopped; its disk is kept, and paid for.
    Exited,
    /// It failed for good.
    Error,
    /// It is gone.
    Terminated,
    /// A word that this program does not know.
    #[serde(other)]
    Unknown,
}

impl PodStatus {
    /// Its word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Provisioning => "PROVISIONING",
            Self::Starting => "STARTING",
            Self::Running => "RUNNING",
            Self::Exited => "EXITED",
            Self::Error => "ERROR",
            Self::Terminated => "TERMINATED",
            Self::Unknown => "UNKNOWN",
        }
    }
}

/// A way to reach a pod by SSH.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SshEndpoint {
    /// Name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Who logs in.
    pub username: String,
}

/// How to reach a pod by SSH. Only the direct way carries files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ssh {
    /// To the pod's own server; `None` before it has a public port.
    #[serde(default)]
    pub direct: Option<SshEndpoint>,
}

/// GPUs of a pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gpu {
    /// Identifier of the type: `NVIDIA RTX A5000`.
    pub id: String,
    /// How many.
    #[serde(default = "one")]
    pub count: u32,
}

fn one() -> u32 {
    1
}

/// A pod. Its environment is left out: it may hold secrets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pod {
    /// Its identifier.
    pub id: String,
    /// Its name, which need not be unique.
    pub name: String,
    /// How it stands.
    pub status: PodStatus,
    /// What may be done with it now.
    #[serde(default)]
    pub actions: Vec<String>,
    /// Its container image.
    #[serde(default)]
    pub image: String,
    /// Its GPUs; `None` for one without.
    #[serde(default)]
    pub gpu: Option<Gpu>,
    /// `SECURE` or `COMMUNITY`.
    pub cloud: String,
    /// Where it is.
    #[serde(default)]
    pub data_center_id: Option<String>,
    /// How to reach it.
    #[serde(default)]
    pub ssh: Ssh,
    /// US dollars an hour, now.
    pub cost: f64,
    /// When it was made, UTC.
    pub created_at: String,
    /// When it was started last, UTC.
    #[serde(default)]
    pub started_at: Option<String>,
}

/// A disk for a pod.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Mounts {
    /// On the pod's machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub persistent: Option<PersistentMount>,
    /// A network volume, which outlives the pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<[NetworkMount; 1]>,
}

/// A disk on the pod's machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PersistentMount {
    /// GB, at least 10.
    pub size: u32,
    /// Where it is mounted.
    pub path: String,
}

/// A network volume in a pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkMount {
    /// Its identifier.
    pub volume_id: String,
    /// Where it is mounted.
    pub path: String,
}

/// A wish for a pod, as it is sent.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CreatePod {
    /// Its name: it holds the tag by which it is found again.
    pub name: String,
    /// GPU type and count.
    pub gpu: Gpu,
    /// `SECURE` or `COMMUNITY`.
    pub cloud: String,
    /// Container image; `None` where a template names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// A template to start from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template_id: Option<String>,
    /// Container disk in GB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk: Option<u32>,
    /// Preferred data centres; empty: any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub data_center_ids: Vec<String>,
    /// Ports, as `22/tcp`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<String>,
    /// Variables of the container.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Command of the container; empty: the image's own.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub args: String,
    /// Disks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mounts: Option<Mounts>,
}

impl std::fmt::Debug for CreatePod {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Values of variables may be secrets.
        let env: Vec<&String> = self.env.keys().collect();
        write!(f, "CreatePod {{ name: {:?}, gpu: {:?}, cloud: {}, env: {env:?} }}", self.name, self.gpu, self.cloud)
    }
}

/// Prices of one GPU of a type, in US dollars an hour. 0 stands for none.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Price {
    /// In the service's own data centres.
    pub secure: f64,
    /// At other hosts.
    pub community: f64,
}

/// Most GPUs of a type in one pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaxCount {
    /// In the service's own data centres.
    pub secure: u32,
    /// At other hosts.
    pub community: u32,
}

/// A data centre with GPUs of a type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataCenter {
    /// Its identifier.
    pub id: String,
    /// `NONE`, `LOW`, `MEDIUM` or `HIGH`.
    pub availability: String,
}

/// A GPU type of the catalogue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GpuType {
    /// Its identifier, as a pod names it.
    pub id: String,
    /// Its pool, by which serverless workers name it.
    #[serde(default)]
    pub pool: Option<String>,
    /// Its short name.
    pub name: String,
    /// `NVIDIA` or `AMD`.
    pub manufacturer: String,
    /// Memory in GB.
    pub memory: u32,
    /// Prices.
    pub price: Price,
    /// Most in one pod.
    pub max_count: MaxCount,
    /// `NONE`, `LOW`, `MEDIUM` or `HIGH`; `None` where it was not asked for.
    #[serde(default)]
    pub availability: Option<String>,
    /// Where there are some.
    #[serde(default)]
    pub data_centers: Vec<DataCenter>,
}

/// A network volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Volume {
    /// Its identifier.
    pub id: String,
    /// Its name.
    pub name: String,
    /// GB.
    pub size: u32,
    /// Where it is.
    pub data_center: String,
}

/// A template: settings of a container under a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Template {
    /// Its identifier.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its container image.
    pub image: String,
    /// Container disk in GB.
    pub disk: u32,
    /// Whether it is for serverless workers.
    pub serverless: bool,
}

/// What the account holds and spends.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Balance {
    /// US dollars left.
    pub client_balance: f64,
    /// US dollars an hour, now.
    pub current_spend_per_hr: f64,
    /// Most US dollars an hour that the account may spend; `None`: no limit is set.
    pub spend_limit: Option<f64>,
}

/// What a pod cost in a span of time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodBill {
    /// The pod.
    pub pod_id: String,
    /// From, UTC.
    pub start_time: String,
    /// To, UTC.
    pub end_time: String,
    /// US dollars.
    pub total_amount: f64,
    /// US dollars of it for GPUs.
    pub gpu_amount: f64,
    /// US dollars of it for disks.
    pub disk_amount: f64,
}

/// Pod bills with their sum.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PodBills {
    /// Newest as the service orders them.
    pub records: Vec<PodBill>,
    /// US dollars.
    pub total_amount: f64,
}
