//! The engine as its callers use it: a catalog and a lake in memory, SQL in, rows out.

mod audit;
mod describing;
mod house;
mod limits;
mod planning;
mod policies;
mod reading;
mod values;
