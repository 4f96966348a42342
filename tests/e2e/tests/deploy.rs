//! Every command of docs/deploy.md, in order, in one shell: on a real PostgreSQL, an emulated S3, with certificates.

use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use lakegate_e2e::{Moto, Result, environment};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use sqlx::Connection as _;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// How long all of it may take.
const DEADLINE: Duration = Duration::from_secs(240);

/// The commands of the page.
fn commands() -> Result<String> {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/deploy.md"))?;
    let blocks = page.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    Ok(blocks.collect::<Vec<_>>().join("\n"))
}

/// Ports that are free.
fn ports<const N: usize>() -> Result<[u16; N]> {
    let held: Vec<_> = (0..N).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
    let ports: Vec<_> = held.iter().map(|one| Ok(one.local_addr()?.port())).collect::<Result<_>>()?;
    ports.try_into().map_err(|_| "as many as were asked for".into())
}

/// An authority, and a certificate of it for this machine.
fn certificates(folder: &Path) -> Result {
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.distinguished_name.push(DnType::CommonName, "An authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate()?;
    std::fs::write(folder.join("ca.pem"), authority.self_signed(&key)?.pem())?;
    let issuer = Issuer::new(authority, key);
    let own = KeyPair::generate()?;
    let mut server = CertificateParams::new(vec!["localhost".to_owned()])?;
    server.distinguished_name.push(DnType::CommonName, "localhost");
    let certificate = server.signed_by(&own, &issuer)?;
    std::fs::write(folder.join("catalog.pem"), certificate.pem())?;
    std::fs::write(folder.join("catalog.key"), own.serialize_pem())?;
    Ok(())
}

/// The URL of an empty schema of the PostgreSQL that the tests have.
async fn database() -> Result<String> {
    let server = environment("LAKEGATE_TEST_POSTGRES", "run `make test`, or use scripts/with-postgres.sh")?;
    let schema = format!("deploy_{}", std::process::id());
    let mut connection = sqlx::PgConnection::connect(&server).await?;
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("CREATE SCHEMA {schema}"))).execute(&mut connection).await?;
    connection.close().await?;
    let and = if server.contains('?') { '&' } else { '?' };
    Ok(format!("'{server}{and}options=-c%20search_path%3D{schema}'"))
}

#[tokio::test]
async fn every_command_of_the_page_runs() -> Result {
    let folder = tempfile::TempDir::with_prefix("lakegate-deploy-")?;
    let (srv, etc, bin) = (folder.path().join("srv"), folder.path().join("etc"), folder.path().join("bin"));
    for path in [&srv, &etc, &bin] {
        std::fs::create_dir(path)?;
    }
    std::os::unix::fs::symlink(environment("LAKEGATE_BIN", "the built binary")?, bin.join("lakegate"))?;
    certificates(&etc)?;
    let moto = Moto::start().await?;
    let _bucket = moto.bucket("lake").await?;
    let mut script = commands()?;
    let database = database().await?;
    let s3 = moto.url().trim_start_matches("http://");
    let (srv, etc) = (format!("{}/", srv.display()), format!("{}/", etc.display()));
    for (written, here) in [
        ("postgres://lakegate@db.example/lakegate", database.as_str()),
        ("s3.example:5000", s3),
        ("catalog.example", "localhost"),
        ("/srv/", &srv),
        ("/etc/lakegate/", &etc),
    ] {
        assert!(script.contains(written), "the page has no `{written}`");
        script = script.replace(written, here);
    }
    let [rest, flight, catalog, rest2, flight2] = ports()?;
    for (usual, here) in [(7780, rest), (7781, flight), (7782, catalog), (7790, rest2), (7791, flight2)] {
        script = script.replace(&format!(":{usual}"), &format!(":{here}"));
    }
    let path = format!("{}:{}", bin.display(), environment("PATH", "set it")?);
    let mut shell = Command::new("bash")
        .args(["-eu", "-s"])
        .env_clear()
        .envs([("PATH", path.as_str()), ("LC_ALL", "C.UTF-8")])
        .env("HOME", folder.path())
        .env("LAKEGATE__REST__LISTEN", format!("127.0.0.1:{rest}"))
        .env("LAKEGATE__FLIGHT__LISTEN", format!("127.0.0.1:{flight}"))
        .env("LAKEGATE_URL", format!("http://127.0.0.1:{rest}"))
        .current_dir(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let script = format!("trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT\n{script}");
    shell.stdin.take().ok_or("a pipe")?.write_all(script.as_bytes()).await?;
    let done = tokio::time::timeout(DEADLINE, shell.wait_with_output()).await??;
    let (said, log) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    let told = format!("{said}\n---- and\n{log}");
    assert!(done.status.success(), "{told}");
    let (mut rest, ok) = (said.as_ref(), "{\"status\":\"ok\"}");
    for expected in [ok, "one", ok, ok, ok, "\"status\":\"committed\"", "roof", "21.5", "503"] {
        rest = rest.split_once(expected).ok_or_else(|| format!("no `{expected}` where it belongs in {told}"))?.1;
    }
    Ok(())
}
