//! Machines elsewhere: GPUs rented from RunPod, over its REST API (version 2).
//!
//! ```text
//!   Client      requests, tries, faults            (client, problem, key)
//!   pods        create by tag, act, wait, logs     (pods, logs)
//!   catalogue   GPUs, prices, the cheapest fit     (catalogue)
//!   money       balance, bills, estimates, caps    (money)
//!   Ledger      what was rented, on disk           (ledger)
//!   serverless  endpoints and their jobs           (serverless)
//!   volumes     network volumes and templates, made  (volumes)
//!   Store       files on a volume, over S3         (s3, sign)
//!   Host        another machine over `ssh`         (ssh)
//! ```
//! Whatever costs money is written to the ledger before it is asked for, under a name that is found
//! again. So a program that is killed at any point leaves a note by which the next one finds the
//! machine, and pays no longer.

mod catalogue;
mod client;
mod clock;
mod key;
mod kinds;
mod ledger;
mod logs;
mod money;
mod pods;
mod problem;
mod s3;
mod serverless;
mod sign;
pub mod ssh;
mod volumes;

pub use catalogue::{Fit, cheapest, gpu_types, hourly_price, templates, volumes};
pub use client::{ADDRESS, ADDRESS_VARIABLE, Client, JOBS_ADDRESS, JOBS_ADDRESS_VARIABLE};
pub use clock::ServiceClock;
pub use key::{KEY_VARIABLE, Key};
pub use kinds::{
    Balance, CreatePod, DataCenter, Gpu, GpuType, Mounts, NetworkMount, PersistentMount, Pod, PodBill, PodBills, PodStatus, Price,
    SshEndpoint, Template, Volume,
};
pub use ledger::{Caps, Entry, Intended, LEDGER_VARIABLE, Ledger, Stage};
pub use logs::{LogLine, follow_logs, recent_logs};
pub use money::{Estimate, OVERHEAD_HOURS, balance, disk_price_hour, estimate, pod_bills, volume_bills, volume_price_hour};
pub use pods::{Action, act, create, find_by_name, get, list, name_of, new_tag, terminate, wait_for_ssh};
pub use s3::{S3_ADDRESS_VARIABLE, S3_DATA_CENTERS, S3_ID_VARIABLE, S3_SECRET_VARIABLE, S3Access, Store};
pub use serverless::{
    CreateEndpoint, Endpoint, JobAction, Scaling, UpdateEndpoint, WorkerGpu, Workers, create_endpoint, delete_endpoint, endpoint,
    endpoint_bills, endpoints, has_ended, health, job, purge_queue, run_job, update_endpoint,
};
pub use volumes::{CreateTemplate, create_template, create_volume, delete_template, delete_volume, volume};
