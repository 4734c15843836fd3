//! A disk that is almost full: submissions are rejected early with a reason, and accepted again when there is space.

use std::path::{Path, PathBuf};
use std::process::Command;

use reqwest::multipart::Form;
use sqlx::PgPool;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{DEADLINE, Server, Setup, form_with, good_form, problem, zips};

const MIB: u64 = 1 << 20;

/// A file system of 8 MiB over a folder.
struct Small(PathBuf);

impl Small {
    /// `None`, and says why, where nothing can be mounted.
    fn over(folder: &Path) -> Option<Self> {
        let mut mount = Command::new("mount");
        let tried = mount.args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"]).arg(folder).output().unwrap();
        if !tried.status.success() {
            eprintln!("skipped: cannot mount a file system: {}", String::from_utf8_lossy(&tried.stderr));
            return None;
        }
        Some(Self(folder.to_owned()))
    }

    fn fill(&self, mib: u64) {
        std::fs::write(self.0.join("filling"), vec![0; usize::try_from(mib * MIB).unwrap()]).unwrap();
    }

    fn free(&self) {
        std::fs::remove_file(self.0.join("filling")).unwrap();
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let gone = Command::new("umount").arg("--lazy").arg(&self.0).status().unwrap();
        assert!(gone.success() || std::thread::panicking());
    }
}

async fn server(pool: PgPool) -> Server {
    let mut setup = Setup::default();
    setup.config.min_free_disk_mib = 4;
    Server::start_with(pool, setup).await
}

/// FAILURES 17.
#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn with_too_little_room_a_submission_is_refused_until_there_is_room_again(pool: PgPool) {
    let server = server(pool).await;
    for name in ["spool", "blobs"] {
        let folder = server.folder().join(name);
        let Some(small) = Small::over(&folder) else { return };
        assert_eq!(server.submit(good_form()).send().await.unwrap().status(), 202);
        let before = server.left_behind().await;
        let lease = server.running().await;

        small.fill(5);
        let refused = server.submit(form_with(zips::other())).send().await.unwrap();
        assert_eq!(refused.headers()["retry-after"], "60");
        let refused = problem(refused, 507, "disk_full").await;
        let detail = refused["detail"].as_str().unwrap();
        assert!(detail.contains(folder.to_str().unwrap()) && detail.contains("limit is 4 MiB"), "{refused}");
        let seen = refused["seen"].as_u64().unwrap();
        assert!(refused["limit"] == 4 * MIB && seen <= 3 * MIB, "{refused}");
        server.complete(lease).await;
        assert_eq!(server.get("/readyz").send().await.unwrap().status(), 200, "all else goes on");

        small.free();
        assert_eq!(server.left_behind().await, before);
        assert_eq!(server.submit(good_form()).send().await.unwrap().status(), 202);
    }
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn it_is_refused_before_its_body_is_read(pool: PgPool) {
    let server = server(pool).await;
    let Some(small) = Small::over(&server.folder().join("spool")) else { return };
    small.fill(5);
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    let head = format!(
        "POST /v1/submissions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\nconnection: close\r\n\
         content-type: multipart/form-data; boundary=b\r\ncontent-length: 500000\r\n\r\n",
        server.key
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 12];
    tokio::time::timeout(DEADLINE, socket.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(answer, b"HTTP/1.1 507");
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_disk_that_becomes_full_meanwhile_leaves_nothing_behind(pool: PgPool) {
    let mut setup = Setup::default();
    setup.config.min_free_disk_mib = 0;
    setup.config.max_archive_bytes = 16 * MIB;
    let server = Server::start_with(pool, setup).await;
    let Some(_small) = Small::over(&server.folder().join("spool")) else { return };
    let large = Form::new().text("template", "unit").text("user", "ada");
    let large = large.part("archive", crate::harness::zip_part(vec![0; usize::try_from(10 * MIB).unwrap()]));
    problem(server.submit(large).send().await.unwrap(), 507, "disk_full").await;
    assert_eq!(server.left_behind().await, (0, 0, 0, 0, 0));
}
