//! Tickets, handles and sessions: who was given one may use it, on any gateway of the instance, and nobody else.

use arrow_flight::sql::{
    ActionClosePreparedStatementRequest, ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult,
    Any, CommandPreparedStatementQuery, CommandStatementQuery, ProstMessageExt as _, TicketStatementQuery,
};
use arrow_flight::{FlightDescriptor, Ticket};
use lakegate_clients::reader;
use lakegate_e2e::flight::{code, count};
use lakegate_e2e::{FlightClient, Gateway, Result};
use prost::Message as _;
use tonic::Code;

const AIRPORTS: &str = "SELECT iata FROM demo.airports WHERE state = 'RI'";

async fn ticket(client: &FlightClient, sql: &str) -> Result<Ticket> {
    let info = client.info(&CommandStatementQuery { query: sql.to_owned(), transaction_id: None }).await?;
    Ok(info.endpoint[0].ticket.clone().ok_or("no ticket")?)
}

async fn prepared(client: &FlightClient, sql: &str) -> Result<bytes::Bytes> {
    let request = ActionCreatePreparedStatementRequest { query: sql.to_owned(), transaction_id: None };
    let results = client.act_on("CreatePreparedStatement", &request).await?;
    let made: ActionCreatePreparedStatementResult =
        Any::decode(results[0].clone())?.unpack()?.ok_or("another message")?;
    Ok(made.prepared_statement_handle)
}

fn statement_of(ticket: &Ticket) -> Result<TicketStatementQuery> {
    Ok(Any::decode(ticket.ticket.clone())?.unpack()?.ok_or("another message")?)
}

#[tokio::test]
async fn they_outlive_the_gateway_that_gave_them() -> Result {
    let gateway = Gateway::demo().await?;
    let token = gateway.token().to_owned();
    let client = FlightClient::connect(gateway.flight(), Some(&token)).await?;
    let ticket = ticket(&client, AIRPORTS).await?;
    let handle = prepared(&client, AIRPORTS).await?;
    let (options, _) = gateway.stop().await?;
    let gateway = options.start().await?;
    let client = FlightClient::connect(gateway.flight(), Some(&token)).await?;
    assert_eq!(count(&client.get(ticket).await?.1), 6);
    let command = CommandPreparedStatementQuery { prepared_statement_handle: handle.clone() };
    assert_eq!(client.run(&command).await?.count(), 6);
    let close = ActionClosePreparedStatementRequest { prepared_statement_handle: handle };
    assert_eq!(client.act_on("ClosePreparedStatement", &close).await?.len(), 0);
    Ok(())
}

#[tokio::test]
async fn nobody_uses_those_of_another() -> Result {
    let gateway = Gateway::demo().await?;
    let owner = FlightClient::connect(gateway.flight(), Some(gateway.token())).await?;
    let service = FlightClient::connect(gateway.flight(), Some(&reader(gateway.client()).await?)).await?;
    let nobody = owner.clone().anonymous();
    let theirs = ticket(&owner, AIRPORTS).await?;
    let handle = prepared(&owner, AIRPORTS).await?;
    for other in [&service, &nobody] {
        let refused = other.get(theirs.clone()).await.expect_err("another's ticket");
        assert_eq!((refused.code(), code(&refused).as_str()), (Code::PermissionDenied, "denied"), "{refused}");
        let command = CommandPreparedStatementQuery { prepared_statement_handle: handle.clone() };
        assert_eq!(other.run(&command).await.expect_err("another's handle").code(), Code::PermissionDenied);
        let close = ActionClosePreparedStatementRequest { prepared_statement_handle: handle.clone() };
        let refused = other.act_on("ClosePreparedStatement", &close).await.expect_err("another's handle");
        assert_eq!(refused.code(), Code::PermissionDenied);
    }
    // Nobody's ticket is nobody's, too.
    let public = ticket(&nobody, AIRPORTS).await?;
    assert_eq!(owner.get(public).await.expect_err("nobody's").code(), Code::PermissionDenied);
    Ok(())
}

#[tokio::test]
async fn a_right_that_is_gone_is_gone_for_a_ticket_too() -> Result {
    let gateway = Gateway::demo().await?;
    let rest = gateway.client();
    rest.create("lab.secret", &[("n", "bigint")]).await?.expect(201)?;
    let token = reader(rest).await?;
    let right = serde_json::json!({ "principal": "reader", "role": "reader", "namespace": "lab" });
    rest.send(reqwest::Method::PUT, "/v1/grants", &right).await?.expect(200)?;
    let service = FlightClient::connect(gateway.flight(), Some(&token)).await?;
    let ticket = ticket(&service, "SELECT * FROM lab.secret").await?;
    service.get(ticket.clone()).await?;
    rest.delete("/v1/grants?principal=reader&namespace=lab").await?.expect(204)?;
    let refused = service.get(ticket).await.expect_err("the right is gone");
    // Who may not see a dataset is not told that it is there.
    assert_eq!(refused.code(), Code::NotFound, "{refused}");
    Ok(())
}

#[tokio::test]
async fn forged_and_foreign_ones_are_refused() -> Result {
    let gateway = Gateway::demo().await?;
    let elsewhere = Gateway::demo().await?;
    let client = FlightClient::connect(gateway.flight(), None).await?;
    let there = FlightClient::connect(elsewhere.flight(), None).await?;
    let foreign = ticket(&there, AIRPORTS).await?;
    let refused = client.get(foreign).await.expect_err("of another instance");
    assert_eq!((refused.code(), code(&refused).as_str()), (Code::InvalidArgument, "invalid_handle"));

    let good = statement_of(&ticket(&client, AIRPORTS).await?)?.statement_handle;
    let prepared = prepared(&client, AIRPORTS).await?;
    let mut forged: Vec<Vec<u8>> = vec![Vec::new(), vec![0; 64], prepared.to_vec(), good[..good.len() - 1].to_vec()];
    for at in [0, good.len() / 2, good.len() - 1] {
        let mut bytes = good.to_vec();
        bytes[at] ^= 1;
        forged.push(bytes);
    }
    for handle in forged {
        let ticket = TicketStatementQuery { statement_handle: handle.clone().into() }.as_any().encode_to_vec();
        let refused = client.get(Ticket::new(ticket)).await.expect_err("forged");
        assert_eq!((refused.code(), code(&refused).as_str()), (Code::InvalidArgument, "invalid_handle"), "{handle:?}");
    }
    // A ticket does not do as the handle of a prepared statement.
    let command = CommandPreparedStatementQuery { prepared_statement_handle: good };
    let descriptor = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
    let refused = client.raw().get_flight_info(client.request(descriptor)).await.expect_err("a ticket");
    assert_eq!(code(&refused), "invalid_handle");
    Ok(())
}
