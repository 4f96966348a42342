//! The example of docs/clients.md.

#![expect(clippy::print_stdout, reason = "it is an example")]

use arrow_flight::sql::client::FlightSqlServiceClient;
use futures::TryStreamExt;
use tonic::transport::Endpoint;

type Error = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let address = std::env::args().nth(1).unwrap_or("http://localhost:7781".to_owned());
    let channel = Endpoint::from_shared(address)?.connect().await?;
    let mut client = FlightSqlServiceClient::new(channel);
    let sql = "SELECT iata, latitude FROM demo.airports WHERE state = 'RI' ORDER BY iata";
    let info = client.execute(sql.to_owned(), None).await?;
    for endpoint in info.endpoint {
        let ticket = endpoint.ticket.ok_or("an endpoint without a ticket")?;
        let mut rows = client.do_get(ticket).await?;
        while let Some(batch) = rows.try_next().await? {
            println!("{} rows of {} columns", batch.num_rows(), batch.num_columns());
        }
    }
    Ok(())
}
