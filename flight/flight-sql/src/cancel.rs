//! Cancelling: `CancelFlightInfo` and the older `CancelQuery`, for the caller's own queries.

use arrow_flight::sql::{ActionCancelQueryResult, Any, TicketStatementQuery};
use arrow_flight::{CancelFlightInfoResult, CancelStatus, FlightInfo};
use lakegate_catalog::{Action, Role};
use lakegate_query::Viewer;
use prost::Message as _;

use crate::service::{Asked, Flight};
use crate::statement::of_ticket;
use crate::status::{Failure, Result};

/// Stops the query that a flight's tickets are for. Its processors are free within a second.
pub(crate) async fn flight_info(
    flight: &Flight,
    asked: &Asked,
    info: Option<FlightInfo>,
) -> Result<CancelFlightInfoResult> {
    let info = info.ok_or_else(|| Failure::invalid("there is no flight info to cancel"))?;
    let status = if stop(flight, asked, &info).await? { CancelStatus::Cancelled } else { CancelStatus::NotCancellable };
    Ok(CancelFlightInfoResult { status: status as i32 })
}

/// The same in the words of older clients: the request holds a whole `FlightInfo`.
pub(crate) async fn query(flight: &Flight, asked: &Asked, info: &[u8]) -> Result<ActionCancelQueryResult> {
    // The older enumeration has the same numbers.
    let CancelFlightInfoResult { status } = flight_info(flight, asked, Some(FlightInfo::decode(info)?)).await?;
    Ok(ActionCancelQueryResult { result: status })
}

async fn stop(flight: &Flight, asked: &Asked, info: &FlightInfo) -> Result<bool> {
    let tickets = info.endpoint.iter().filter_map(|endpoint| endpoint.ticket.as_ref());
    let mut stopped = false;
    for ticket in tickets {
        let message = Any::decode(ticket.ticket.clone())?;
        let Ok(Some(ticket)) = message.unpack::<TicketStatementQuery>() else { continue };
        let question = of_ticket(flight, &asked.caller, &ticket)?;
        let viewer = viewer(flight, asked).await?;
        let runs = flight.engine.find_query(&viewer, &question.query_id).is_some_and(|query| !query.state.is_over());
        stopped |= runs && flight.engine.cancel(&viewer, &question.query_id);
    }
    Ok(stopped)
}

async fn viewer(flight: &Flight, asked: &Asked) -> Result<Viewer> {
    let manages = asked.caller.may(Action::Manage);
    let oversees = manages && flight.catalog.role_on_instance(&asked.caller).await? == Some(Role::Owner);
    Ok(if oversees { Viewer::All } else { Viewer::Caller(asked.caller.clone()) })
}
