//! Checks Docker, the images and the warden.

use std::collections::BTreeSet;

use super::Report;
use super::warden::{self, Linkage};
use crate::maintenance::pressure::{PressureLimits, PressureSources};
use crate::template::Templates;
use crate::worker::FETCH_IMAGE;
use assize_cell::berth::BERTH_IMAGE;
use assize_cell::{Engine, EngineError};
use assize_client::terminal::bytes;
use assize_config::Config;

/// Runs these checks. Returns the engine if cells can be created with it.
pub(super) async fn examine(config: &Config, templates: &Templates, report: &mut Report) -> Option<Engine> {
    let (engine, has_warden) = match Engine::connect(config).await {
        Err(error @ EngineError::Warden { .. }) => {
            report.fault("warden", &error);
            // The engine can be checked without a warden: any file that exists will do in its place.
            let config = Config { warden_path: std::env::current_exe().unwrap_or_default(), ..config.clone() };
            (Engine::connect(&config).await, false)
        }
        other => (other, true),
    };
    let engine = match engine {
        Ok(engine) => engine,
        Err(error) => {
            report.fault("docker", &error);
            return None;
        }
    };
    let is_static = has_warden && check_warden(&engine, report);
    describe(&engine, report).await?;
    pressure(&engine, config, report).await;
    let has_images = check_images(&engine, config, templates, report).await;
    let mut has_runtimes = true;
    for template in templates.iter() {
        let whose = format!("runtime of template {}", template.name);
        if let Err(error) = engine.check_runtime(template.runtime.as_deref(), &whose) {
            has_runtimes = false;
            report.fault("runtime", &error);
        }
    }
    (is_static && has_images && has_runtimes).then_some(engine)
}

fn check_warden(engine: &Engine, report: &mut Report) -> bool {
    let path = engine.warden.display();
    const BUILD: &str = "build it with `make warden`, or set warden_path";
    match warden::linkage(&engine.warden) {
        Ok(Linkage::Static) => report.ok("warden", format!("{path}, static")),
        Ok(Linkage::Dynamic { interpreter }) => {
            report.fail("warden", format!("{path} needs {interpreter}, which cells may not have"), BUILD);
            return false;
        }
        Err(reason) => {
            report.fail("warden", format!("{path} {reason}"), BUILD);
            return false;
        }
    }
    true
}

async fn describe(engine: &Engine, report: &mut Report) -> Option<()> {
    let info = match engine.info().await {
        Ok(info) => info,
        Err(error) => {
            report.fault("docker", &error);
            return None;
        }
    };
    let named = |name: Option<String>| name.unwrap_or_else(|| "?".to_owned());
    let version = named(info.server_version);
    let memory = info
        .mem_total
        .and_then(|bytes| u64::try_from(bytes).ok())
        .map_or_else(String::new, |total| format!(", {}", bytes(total)));
    let cores = info.ncpu.unwrap_or(0);
    report.ok("docker", format!("version {version}, storage {}, {cores} cores{memory}", named(info.driver)));
    let cgroups = info.cgroup_version.map(|version| version.to_string());
    let driver = info.cgroup_driver.map(|driver| driver.to_string());
    report.ok("cgroups", format!("version {}, driver {}", named(cgroups), named(driver)));
    match &engine.confinement.expected {
        Some(profile) => report.ok("apparmor", format!("{profile} confines the cells")),
        None => report.warn(
            "apparmor",
            "the engine's host has none",
            "none is needed: the other controls do not depend on it",
        ),
    }
    Some(())
}

/// Checks whether the load of the host would keep a worker from claiming at this moment.
async fn pressure(engine: &Engine, config: &Config, report: &mut Report) {
    let seen = PressureSources::find(engine).await.read().await;
    let short = PressureLimits::from_config(config).shortages(&seen, &[]);
    if short.is_empty() {
        return report.ok("pressure", seen.to_string());
    }
    let short: Vec<String> = short.into_iter().map(|(_, words)| words).collect();
    report.warn(
        "pressure",
        short.join("; "),
        "free memory or disk, or correct the limit; until then workers claim nothing",
    );
}

async fn check_images(engine: &Engine, config: &Config, templates: &Templates, report: &mut Report) -> bool {
    let mut images = BTreeSet::from([BERTH_IMAGE.to_owned()]);
    images.extend((!config.git_hosts.is_empty()).then(|| FETCH_IMAGE.to_owned()));
    for template in templates.iter() {
        images.insert(template.image.clone());
        images.extend(template.driver.as_ref().map(|driver| driver.image.clone()));
    }
    let mut missing = false;
    let mut present = Vec::new();
    for image in images {
        match engine.check_image(&image).await {
            Ok(()) => present.push(image),
            Err(error) => {
                missing = true;
                report.fault("images", &error);
            }
        }
    }
    if !present.is_empty() {
        report.ok("images", present.join(", "));
    }
    !missing
}
