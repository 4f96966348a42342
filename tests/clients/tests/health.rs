//! What schedulers and tools ask of a gRPC server.

use lakegate_e2e::{FlightClient, Gateway, Result};
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

#[tokio::test]
async fn health_is_told_for_all_and_for_flight() -> Result {
    let gateway = Gateway::start().await?;
    let address = gateway.flight().replacen("grpc://", "http://", 1);
    let channel = tonic::transport::Endpoint::from_shared(address)?.connect().await?;
    let mut health = HealthClient::new(channel);
    for service in ["", "arrow.flight.protocol.FlightService"] {
        let request = HealthCheckRequest { service: service.to_owned() };
        assert_eq!(health.check(request).await?.into_inner().status(), ServingStatus::Serving, "{service}");
    }
    let unknown = HealthCheckRequest { service: "other".to_owned() };
    assert_eq!(health.check(unknown).await.expect_err("no such service").code(), Code::NotFound);
    Ok(())
}

#[tokio::test]
async fn calls_are_counted_with_those_of_rest() -> Result {
    let gateway = Gateway::demo().await?;
    let client = FlightClient::connect(gateway.flight(), None).await?;
    client.ask("SELECT 1").await?;
    client.ask("SELECT nope").await.expect_err("no such column");
    let metrics = gateway.client().get("/metrics").await?.expect(200)?.text();
    for line in [
        r#"lakegate_flight_calls_total{method="GetFlightInfo",code="ok"} 1"#,
        r#"lakegate_flight_calls_total{method="GetFlightInfo",code="unknown_column"} 1"#,
        r#"lakegate_flight_calls_total{method="DoGet",code="ok"} 1"#,
    ] {
        assert!(metrics.contains(line), "{line} is not in:\n{metrics}");
    }
    Ok(())
}
