//! A line chart as SVG, readable on a light and on a dark page.

use std::fmt::Write;

const WIDTH: f64 = 880.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 190.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 36.0;

/// The largest number of points of a line: a chart has no more pixels than that.
const MAX_POINTS: usize = 700;

/// Colours that differ in lightness too (Okabe and Ito).
const COLOURS: [&str; 8] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6bb1", "#7f7f7f"];

/// A line with its name.
pub struct Line {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

/// A chart over time in minutes.
pub struct Chart {
    pub title: String,
    pub lines: Vec<Line>,
    /// Spans that are shaded, in minutes.
    pub bands: Vec<(f64, f64)>,
}

impl Chart {
    /// Draws the chart. The vertical axis begins at 0.
    pub fn svg(&self) -> String {
        let points = || self.lines.iter().flat_map(|line| line.points.iter().copied());
        let (mut from, mut until, mut top) = (f64::INFINITY, f64::NEG_INFINITY, 0.0_f64);
        for (x, y) in points().filter(|(x, y)| x.is_finite() && y.is_finite()) {
            (from, until, top) = (from.min(x), until.max(x), top.max(y));
        }
        let mut svg = head(&self.title);
        if from > until {
            svg += &text(WIDTH / 2.0, HEIGHT / 2.0, "middle", "no data");
            return svg + "</svg>\n";
        }
        let (until, step) = (until.max(from + 1e-9), step(top));
        let top = (top / step).ceil().max(1.0) * step;
        let across = |x: f64| LEFT + (x - from) / (until - from) * (WIDTH - LEFT - RIGHT);
        let up = |y: f64| HEIGHT - BOTTOM - y / top * (HEIGHT - TOP - BOTTOM);
        for (begin, end) in &self.bands {
            let (begin, end) = (across(begin.clamp(from, until)), across(end.clamp(from, until)));
            let (width, height) = ((end - begin).max(1.0), HEIGHT - TOP - BOTTOM);
            writeln!(
                svg,
                "<rect class=\"band\" x=\"{begin:.1}\" y=\"{TOP}\" width=\"{width:.1}\" height=\"{height}\"/>"
            )
            .ok();
        }
        let mut tick = 0.0;
        while tick <= top + step / 2.0 {
            let (y, right) = (up(tick), WIDTH - RIGHT);
            writeln!(svg, "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>").ok();
            svg += &text(LEFT - 6.0, y + 4.0, "end", &label(tick));
            tick += step;
        }
        for part in 0..=5 {
            let x = from + (until - from) * f64::from(part) / 5.0;
            svg += &text(across(x), HEIGHT - BOTTOM + 18.0, "middle", &format!("{} min", label(x)));
        }
        for (at, line) in self.lines.iter().enumerate() {
            let colour = COLOURS[at % COLOURS.len()];
            let y = TOP + 14.0 + 18.0 * super::super::stats::length(at);
            let (swatch, name) = (WIDTH - RIGHT + 14.0, WIDTH - RIGHT + 34.0);
            writeln!(svg, "<rect x=\"{swatch}\" y=\"{:.1}\" width=\"14\" height=\"3\" fill=\"{colour}\"/>", y - 5.0)
                .ok();
            svg += &text(name, y, "start", &line.name);
            let places = thinned(&line.points).into_iter().filter(|(x, y)| x.is_finite() && y.is_finite());
            let places: Vec<String> = places.map(|(x, y)| format!("{:.1},{:.1}", across(x), up(y))).collect();
            writeln!(svg, "<polyline stroke=\"{colour}\" points=\"{}\"/>", places.join(" ")).ok();
        }
        svg + "</svg>\n"
    }
}

fn head(title: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
         aria-label=\"{title}\">\n<style>\n\
         svg {{ background: #fff; font: 12px sans-serif; }} text {{ fill: #222; }} .title {{ font-size: 15px; }}\n\
         .grid {{ stroke: #ddd; }} .band {{ fill: #d55e00; opacity: 0.15; }}\n\
         polyline {{ fill: none; stroke-width: 1.5; }}\n\
         @media (prefers-color-scheme: dark) {{ svg {{ background: #16181d; }} text {{ fill: #ddd; }} \
         .grid {{ stroke: #3a3d44; }} }}\n</style>\n\
         <text class=\"title\" x=\"{LEFT}\" y=\"20\">{title}</text>\n",
        title = escaped(title),
    )
}

fn text(x: f64, y: f64, anchor: &str, text: &str) -> String {
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>\n", escaped(text))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Returns a step of 1, 2 or 5 times a power of ten that divides the axis into at most six parts.
fn step(top: f64) -> f64 {
    let raw = (top / 6.0).max(1e-9);
    let power = 10_f64.powf(raw.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|factor| factor * power).find(|step| *step >= raw).unwrap_or(raw)
}

fn label(value: f64) -> String {
    let text = if value.abs() >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") };
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// Returns the lowest and the highest point of each of so many blocks that a peak is never left out.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    if points.len() <= MAX_POINTS {
        return points.to_vec();
    }
    let size = points.len().div_ceil(MAX_POINTS / 2);
    let ends = |block: &[(f64, f64)]| {
        let order = |one: &&(f64, f64), two: &&(f64, f64)| one.1.total_cmp(&two.1);
        let mut ends: Vec<_> =
            [block.iter().min_by(order), block.iter().max_by(order)].into_iter().flatten().copied().collect();
        ends.sort_by(|one, two| one.0.total_cmp(&two.0));
        ends
    };
    points.chunks(size).flat_map(ends).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(points: Vec<(f64, f64)>) -> Chart {
        Chart {
            title: "a < b".to_owned(),
            lines: vec![Line { name: "line".to_owned(), points }],
            bands: vec![(1.0, 2.0)],
        }
    }

    #[test]
    fn a_chart_is_whole_xml_and_its_line_is_inside() {
        let svg = chart((0..10).map(|at| (f64::from(at), f64::from(at * at))).collect()).svg();
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n") && svg.contains("a &lt; b"));
        let mut reader = quick_xml::Reader::from_str(&svg);
        loop {
            if matches!(reader.read_event().expect("XML"), quick_xml::events::Event::Eof) {
                break;
            }
        }
        let (_, rest) = svg.split_once("points=\"").unwrap();
        let (points, _) = rest.split_once('"').unwrap();
        assert_eq!(points.split(' ').count(), 10);
        assert!(points.starts_with(&format!("{LEFT:.1},{:.1}", HEIGHT - BOTTOM)), "{points}");
    }

    #[test]
    fn nothing_and_one_point_are_drawn_too() {
        assert!(chart(Vec::new()).svg().contains("no data"));
        assert!(chart(vec![(3.0, 0.0)]).svg().contains("polyline"));
        assert!(!chart(vec![(3.0, f64::NAN), (4.0, 1.0)]).svg().contains("NaN"));
    }

    #[test]
    fn a_thinned_line_keeps_its_peak() {
        let mut points: Vec<(f64, f64)> = (0..10_000).map(|at| (f64::from(at), 1.0)).collect();
        points[4321].1 = 99.0;
        let thin = thinned(&points);
        assert!(thin.len() <= MAX_POINTS && thin.contains(&(4321.0, 99.0)));
    }

    #[test]
    fn steps_are_round() {
        assert_eq!([0.9, 6.0, 7.0, 40.0].map(step), [0.2, 1.0, 2.0, 10.0]);
        assert_eq!([0.0, 0.25, 1500.0, 100.0].map(label), ["0", "0.25", "1500", "100"]);
    }
}
