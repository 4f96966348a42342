//! From the text of a statement to one that is safe to plan.
//!
//! It is pure and synchronous: text and values in, a checked syntax tree out, and the relations that it
//! names. It opens no dataset and knows no planner; which functions there are is told to it as
//! [`Functions`]. What comes out has been seen node by node: anything that is not on the list of `allow`
//! was refused, because planners ignore some constructs in silence and would answer wrongly.
//!
//! The main type is [`Statement`]; [`Statement::parse`] makes one.
//!
//! In reading order: `statement` puts the steps together; `bounds` limits what is parsed; `travel` turns every
//! way to name an older version into one (`moment` says what a version is); `show` puts queries in
//! place of SHOW and DESCRIBE; `qualify` completes names; `params` puts values in; `allow` refuses what is not on the list; `names` finds
//! the relations; `weight` adds up what the planner would make of it; `outputs` names the columns of the answer;
//! `times` says what a timestamp counts. `expression` reads the expressions of policies by the same rules.

mod allow;
mod bounds;
mod error;
mod expression;
mod functions;
mod moment;
mod names;
mod outputs;
mod params;
mod qualify;
mod show;
mod statement;
mod times;
mod travel;
mod weight;

pub use bounds::MAX_BYTES as MAX_STATEMENT;
pub use error::{Position, Result, StatementError};
pub use expression::Expressions;
pub use functions::Functions;
pub use moment::{AsOf, Moment};
pub use names::{Part, Relation, SystemView, View};
pub use params::{Params, TypedValue};
pub use statement::{Explain, Statement};
