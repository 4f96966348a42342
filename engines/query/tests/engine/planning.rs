//! No accepted statement plans for long: the worst of each shape that is accepted, in processor time.

use std::time::Duration;

use cpu_time::ProcessTime;

use crate::house::House;

/// Grows a shape to the largest size that is accepted, by halving.
async fn worst(house: &House, shape: &dyn Fn(usize) -> String) -> (usize, Duration, String) {
    let (mut low, mut high) = (1, 20_001);
    let (mut longest, mut code) = (Duration::ZERO, String::new());
    while low + 1 < high {
        let middle = (low + high) / 2;
        let start = ProcessTime::now();
        let answer = house.start(crate::house::request(&format!("EXPLAIN {}", shape(middle)))).await;
        let took = start.elapsed();
        match answer {
            Err(error) if error.code() == "statement_too_complex" => high = middle,
            other => {
                low = middle;
                longest = longest.max(took);
                code = other.map_or_else(|error| error.to_string(), |_| "ok".to_owned());
            }
        }
    }
    (low, longest, code)
}

fn repeated(first: &str, next: impl Fn(usize) -> String, n: usize) -> String {
    (0..n).fold(first.to_owned(), |text, i| text + &next(i))
}

fn nested(n: usize, around: impl Fn(&str, usize) -> String, core: &str) -> String {
    (0..n).fold(core.to_owned(), |text, i| around(&text, i))
}

/// The longest that planning may take, beside a statement of 500 columns: machines differ by more than a fault does. The
/// bounds were made where the worst took less than a second.
const MOST: u32 = 50;

/// Other tests run beside this one: what counts is the processor's time in this process.
async fn fastest_of_three(house: &House, sql: &str) -> Duration {
    let mut fastest = Duration::MAX;
    for _ in 0..3 {
        let start = ProcessTime::now();
        drop(house.start(crate::house::request(&format!("EXPLAIN {sql}"))).await);
        fastest = fastest.min(start.elapsed());
    }
    fastest
}

type Shape = (&'static str, Box<dyn Fn(usize) -> String>);

fn shapes() -> Vec<Shape> {
    fn shape(name: &'static str, make: impl Fn(usize) -> String + 'static) -> Shape {
        (name, Box::new(make))
    }
    vec![
        shape("sum", |n| repeated("SELECT id", |i| format!("+{i}"), n) + " FROM demo.quakes"),
        shape("sum of one column", |n| repeated("SELECT id", |_| "+id".into(), n) + " FROM demo.quakes"),
        shape("or", |n| repeated("SELECT 1 FROM demo.quakes WHERE id=0", |i| format!(" OR id={i}"), n)),
        shape("or of and", |n| {
            repeated("SELECT 1 FROM demo.quakes WHERE id=0", |i| format!(" OR id={i} AND place='{i}'"), n)
        }),
        shape("and of or", |n| {
            repeated("SELECT 1 FROM demo.quakes WHERE id=0", |i| format!(" AND (id={i} OR place='{i}')"), n)
        }),
        shape("not equal", |n| repeated("SELECT 1 FROM demo.quakes WHERE id<>0", |i| format!(" AND id<>{i}"), n)),
        shape("like", |n| {
            repeated("SELECT 1 FROM demo.quakes WHERE place LIKE 'a'", |i| format!(" OR place LIKE '%{i}%'"), n)
        }),
        shape("concat", |n| repeated("SELECT place", |i| format!("||'{i}'"), n) + " FROM demo.quakes"),
        shape("in list", |n| repeated("SELECT 1 FROM demo.quakes WHERE id IN (0", |i| format!(",{i}"), n) + ")"),
        shape("in list of sums", |n| {
            repeated("SELECT 1 FROM demo.quakes WHERE id IN (0", |i| format!(",id+{i}"), n) + ")"
        }),
        shape("two in lists", |n| {
            let list = repeated("0", |i| format!(",{i}"), n);
            format!("SELECT 1 FROM demo.quakes WHERE id IN ({list}) AND id NOT IN ({list})")
        }),
        shape("columns", |n| repeated("SELECT id AS c", |i| format!(",id AS c{i}"), n) + " FROM demo.quakes"),
        shape("computed columns", |n| {
            repeated("SELECT id AS c", |i| format!(",id+{i} AS c{i}"), n) + " FROM demo.quakes"
        }),
        shape("aggregates", |n| repeated("SELECT 1", |i| format!(",sum(id+{i})"), n) + " FROM demo.quakes"),
        shape("windows", |n| {
            repeated("SELECT 1", |i| format!(",sum(id+{i}) OVER (ORDER BY place)"), n) + " FROM demo.quakes"
        }),
        shape("window orders", |n| {
            repeated("SELECT 1", |i| format!(",sum(id) OVER (ORDER BY id+{i})"), n) + " FROM demo.quakes"
        }),
        shape("group by", |n| {
            format!("SELECT count(*) FROM demo.quakes GROUP BY {}", repeated("id", |i| format!(",id+{i}"), n))
        }),
        shape("cube", |n| {
            format!("SELECT count(*) FROM demo.quakes GROUP BY CUBE ({})", repeated("id", |i| format!(",id+{i}"), n))
        }),
        shape("order by", |n| {
            format!("SELECT id FROM demo.quakes ORDER BY {}", repeated("id", |i| format!(",id+{i}"), n))
        }),
        shape("values", |n| repeated("VALUES (1,2,3)", |i| format!(",({i},2,3)"), n)),
        shape("array", |n| repeated("SELECT [1", |i| format!(",{i}"), n) + "]"),
        shape("concat call", |n| repeated("SELECT concat(place", |i| format!(",'{i}'"), n) + ") FROM demo.quakes"),
        shape("coalesce call", |n| repeated("SELECT coalesce(id", |i| format!(",id+{i}"), n) + ") FROM demo.quakes"),
        shape("case", |n| {
            repeated("SELECT CASE WHEN id=0 THEN 0", |i| format!(" WHEN id={i} THEN {i}"), n) + " END FROM demo.quakes"
        }),
        shape("cross joins", |n| repeated("SELECT 1 FROM demo.quakes q", |i| format!(",demo.quakes q{i}"), n)),
        shape("joins", |n| {
            repeated("SELECT 1 FROM demo.quakes q", |i| format!(" JOIN demo.quakes q{i} ON q.id=q{i}.id"), n)
        }),
        shape("joins of all columns", |n| {
            repeated("SELECT * FROM demo.quakes q", |i| format!(" JOIN demo.quakes q{i} ON q.id=q{i}.id"), n)
        }),
        shape("left joins with using", |n| {
            repeated("SELECT * FROM demo.quakes q", |i| format!(" LEFT JOIN demo.quakes q{i} ON q.id=q{i}.id"), n)
        }),
        shape("joins in where", |n| {
            let from = repeated("SELECT 1 FROM demo.quakes q", |i| format!(",demo.quakes q{i}"), n);
            repeated(&(from + " WHERE q.id=1"), |i| format!(" AND q.id=q{i}.id"), n)
        }),
        shape("unions", |n| {
            repeated("SELECT id FROM demo.quakes", |_| " UNION ALL SELECT id FROM demo.quakes".into(), n)
        }),
        shape("distinct unions", |n| {
            repeated("SELECT id FROM demo.quakes", |i| format!(" UNION SELECT id+{i} FROM demo.quakes"), n)
        }),
        shape("unions without tables", |n| repeated("SELECT 1", |_| " UNION ALL SELECT 1".into(), n)),
        shape("intersections", |n| {
            repeated("SELECT id FROM demo.quakes", |_| " INTERSECT SELECT id FROM demo.quakes".into(), n)
        }),
        shape("exists", |n| {
            repeated(
                "SELECT 1 FROM demo.quakes q WHERE true",
                |i| format!(" AND EXISTS (SELECT 1 FROM demo.quakes r WHERE r.id=q.id+{i})"),
                n,
            )
        }),
        shape("scalar subqueries", |n| repeated("SELECT 1", |i| format!(",(SELECT max(id)+{i} FROM demo.quakes)"), n)),
        shape("in subqueries", |n| {
            repeated("SELECT 1 FROM demo.quakes q WHERE true", |_| " AND id IN (SELECT id FROM demo.quakes)".into(), n)
        }),
        shape("parentheses", |n| format!("SELECT {}1{}", "(".repeat(n), ")".repeat(n))),
        shape("calls", |n| format!("SELECT {}id{} FROM demo.quakes", "abs(".repeat(n), ")".repeat(n))),
        shape("replace calls", |n| {
            format!("SELECT {}place{} FROM demo.quakes", "replace(".repeat(n), ",'a','b')".repeat(n))
        }),
        shape("arrays in arrays", |n| format!("SELECT {}1{}", "[".repeat(n), "]".repeat(n))),
        shape("cases in cases", |n| {
            format!("SELECT {}id{} FROM demo.quakes", "CASE WHEN id>1 THEN ".repeat(n), " END".repeat(n))
        }),
        shape("casts", |n| format!("SELECT {}id{} FROM demo.quakes", "CAST(".repeat(n), " AS bigint)".repeat(n))),
        shape("double colons", |n| repeated("SELECT id", |_| "::varchar::bigint".into(), n) + " FROM demo.quakes"),
        shape("is null", |n| repeated("SELECT id", |_| " IS NULL".into(), n) + " FROM demo.quakes"),
        shape("subscripts", |n| repeated("SELECT [[1]]", |_| "[1]".into(), n)),
        shape("subqueries", |n| nested(n, |q, i| format!("SELECT * FROM ({q}) t{i}"), "SELECT * FROM demo.quakes")),
        shape("filtered subqueries", |n| {
            nested(n, |q, i| format!("SELECT * FROM ({q}) t{i} WHERE id>{i}"), "SELECT * FROM demo.quakes")
        }),
        shape("doubled columns", |n| {
            nested(n, |q, i| format!("SELECT id+id AS id FROM ({q}) t{i} WHERE id>{i}"), "SELECT * FROM demo.quakes")
        }),
        shape("correlated subqueries", |n| {
            nested(
                n,
                |q, i| format!("SELECT id FROM demo.quakes t{i} WHERE id IN ({q})"),
                "SELECT id FROM demo.quakes t",
            )
        }),
        shape("chained queries", |n| {
            let with = repeated(
                "WITH c0 AS (SELECT * FROM demo.quakes)",
                |i| format!(",c{} AS (SELECT id+1 AS id,place FROM c{i} WHERE id>{i})", i + 1),
                n,
            );
            format!("{with} SELECT * FROM c{n}")
        }),
        shape("forked queries", |n| {
            let with = repeated(
                "WITH c0 AS (SELECT * FROM demo.quakes)",
                |i| format!(",c{} AS (SELECT a.* FROM c{i} a JOIN c{i} b USING (id))", i + 1),
                n,
            );
            format!("{with} SELECT * FROM c{n}")
        }),
        shape("aggregated chain", |n| {
            let with = repeated(
                "WITH c0 AS (SELECT * FROM demo.quakes)",
                |i| format!(",c{} AS (SELECT id, sum(id) AS s FROM c{i} GROUP BY id)", i + 1),
                n,
            );
            format!("{with} SELECT * FROM c{n} WHERE id>1")
        }),
        shape("wide then deep", |n| {
            let wide = repeated("SELECT id AS c", |i| format!(",id AS c{i}"), 300) + " FROM demo.quakes";
            nested(n, |q, i| format!("SELECT * FROM ({q}) t{i} WHERE c>{i}"), &wide)
        }),
        shape("wide joins", |n| {
            let wide = repeated("SELECT id AS c", |i| format!(",id AS c{i}"), 500) + " FROM demo.quakes";
            let with = format!("WITH w AS ({wide})");
            repeated(&format!("{with} SELECT * FROM w"), |i| format!(" JOIN w AS w{i} ON w.c=w{i}.c"), n)
        }),
        shape("intervals", |n| repeated("SELECT now()", |i| format!("+INTERVAL '{i} days'"), n)),
        shape("between", |n| {
            repeated("SELECT 1 FROM demo.quakes WHERE true", |i| format!(" AND id BETWEEN {i} AND {}", i * 3), n)
        }),
        shape("json", |n| repeated("SELECT place", |i| format!("->'{i}'"), n) + " FROM demo.quakes"),
        shape("structs", |n| nested(n, |q, _| format!("{{a: {q}}}"), "1").replacen("{", "SELECT {", 1)),
        shape("grouping sets", |n| {
            format!(
                "SELECT count(*) FROM demo.quakes GROUP BY GROUPING SETS ({})",
                repeated("(id)", |_| ",(id,place)".into(), n)
            )
        }),
        shape("older versions", |n| {
            repeated("SELECT id FROM demo.quakes@v1", |_| " UNION ALL SELECT id FROM demo.quakes@v1".into(), n)
        }),
        shape("joins of versions", |n| {
            let join = |i| format!(" JOIN demo.quakes FOR VERSION AS OF 1 AS t{i} ON q.id=t{i}.id");
            repeated("SELECT q.id FROM demo.quakes@v1 AS q", join, n)
        }),
        shape("lists of versions", |n| {
            let join = |i| format!(" JOIN demo.quakes$versions t{i} ON q.version=t{i}.version");
            repeated("SELECT q.version FROM demo.quakes$versions q", join, n)
        }),
        shape("information_schema", |n| {
            let join = |i| format!(" JOIN information_schema.columns t{i} ON q.column_name=t{i}.column_name");
            repeated("SELECT q.column_name FROM information_schema.columns q", join, n)
        }),
        shape("system", |n| {
            let join = |i| format!(" JOIN system.audit t{i} ON q.id=t{i}.id AND t{i}.at>now()");
            repeated("SELECT q.id FROM system.audit q", join, n)
        }),
        shape("timestamps", |n| {
            repeated(
                "SELECT 1 FROM demo.quakes WHERE now()>'2020-01-01'::timestamp",
                |i| format!(" OR TIMESTAMP '2020-01-01'+INTERVAL '{i} days'<now()"),
                n,
            )
        }),
        shape("filtered aggregates", |n| {
            repeated("SELECT count(*)", |i| format!(",sum(id) FILTER (WHERE id>{i})"), n) + " FROM demo.quakes"
        }),
        shape("unnest", |n| repeated("SELECT unnest([1])", |i| format!(",unnest([{i},2])"), n)),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn no_accepted_statement_plans_for_long() {
    let house = House::new().await;
    let columns = repeated("SELECT id AS c", |i| format!(",id AS c{i}"), 500) + " FROM demo.quakes";
    let measure = fastest_of_three(&house, &columns).await;
    eprintln!("{:>8.1} ms    500 columns", measure.as_secs_f64() * 1e3);
    let mut slow = Vec::new();
    for (name, shape) in shapes() {
        let (size, took, code) = worst(&house, shape.as_ref()).await;
        eprintln!(
            "{:>8.1} ms {size:>6} {name}: {}",
            took.as_secs_f64() * 1e3,
            code.chars().take(90).collect::<String>()
        );
        let most = measure * MOST;
        if took > most && fastest_of_three(&house, &shape(size)).await > most {
            slow.push((name, size, took));
        }
    }
    assert!(slow.is_empty(), "{slow:?}");
}
