//! Limited-memory BFGS with backtracking. Source: J. Nocedal and S. Wright, Numerical Optimization, algorithms 7.4
//! (two-loop recursion) and 3.1 (backtracking).

use std::collections::VecDeque;

/// Pairs of steps and gradient changes remembered.
const MEMORY: usize = 8;
/// Stops when the loss falls by less than this share of itself.
const TOLERANCE: f64 = 1e-6;

struct Pair {
    step: Vec<f64>,
    change: Vec<f64>,
    curvature: f64,
}

/// Minimises `objective`, which fills the gradient and gives the loss. Gives the number of iterations.
pub(super) fn minimise(
    at: &mut Vec<f64>,
    objective: impl Fn(&[f64], &mut [f64]) -> f64,
    iterations: usize,
    progress: &mut impl FnMut(usize, f64),
) -> usize {
    let mut gradient = vec![0.0; at.len()];
    let mut loss = objective(at, &mut gradient);
    let mut memory: VecDeque<Pair> = VecDeque::new();
    let mut next_gradient = vec![0.0; at.len()];
    for iteration in 1..=iterations {
        let direction = direction(&memory, &gradient);
        let slope = dot(&direction, &gradient);
        if slope >= 0.0 {
            return iteration - 1;
        }
        // The first step has no curvature to go by: its length is set to one.
        let mut length = if memory.is_empty() { 1.0 / dot(&gradient, &gradient).sqrt() } else { 1.0 };
        let (next, next_loss) = loop {
            let next: Vec<f64> = at.iter().zip(&direction).map(|(x, d)| x + length * d).collect();
            let next_loss = objective(&next, &mut next_gradient);
            if next_loss <= loss + 1e-4 * length * slope {
                break (next, next_loss);
            }
            length /= 2.0;
            if length < 1e-10 {
                return iteration - 1;
            }
        };
        let step: Vec<f64> = next.iter().zip(at.iter()).map(|(a, b)| a - b).collect();
        let change: Vec<f64> = next_gradient.iter().zip(&gradient).map(|(a, b)| a - b).collect();
        let curvature = dot(&step, &change);
        if curvature > 1e-300 {
            if memory.len() == MEMORY {
                memory.pop_front();
            }
            memory.push_back(Pair { step, change, curvature });
        }
        let fell = loss - next_loss;
        *at = next;
        loss = next_loss;
        std::mem::swap(&mut gradient, &mut next_gradient);
        progress(iteration, loss);
        if fell < TOLERANCE * loss.abs() {
            return iteration;
        }
    }
    iterations
}

/// Minus the estimated inverse Hessian times the gradient.
fn direction(memory: &VecDeque<Pair>, gradient: &[f64]) -> Vec<f64> {
    let mut direction: Vec<f64> = gradient.iter().map(|g| -g).collect();
    let mut weights = Vec::with_capacity(memory.len());
    for pair in memory.iter().rev() {
        let weight = dot(&pair.step, &direction) / pair.curvature;
        add(&mut direction, -weight, &pair.change);
        weights.push(weight);
    }
    if let Some(last) = memory.back() {
        let scale = last.curvature / dot(&last.change, &last.change);
        direction.iter_mut().for_each(|d| *d *= scale);
    }
    for (pair, weight) in memory.iter().zip(weights.into_iter().rev()) {
        let correction = dot(&pair.change, &direction) / pair.curvature;
        add(&mut direction, weight - correction, &pair.step);
    }
    direction
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

fn add(to: &mut [f64], factor: f64, what: &[f64]) {
    to.iter_mut().zip(what).for_each(|(t, w)| *t += factor * w);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, reason = "a test may fail by panicking")]

    use super::*;

    #[test]
    fn the_valley_of_rosenbrock_is_walked_to_its_end() {
        let objective = |x: &[f64], gradient: &mut [f64]| {
            let (bend, reach) = (x[1] - x[0] * x[0], 1.0 - x[0]);
            gradient[0] = -400.0 * x[0] * bend - 2.0 * reach;
            gradient[1] = 200.0 * bend;
            100.0 * bend * bend + reach * reach
        };
        let mut at = vec![-1.2, 1.0];
        let iterations = minimise(&mut at, objective, 200, &mut |_, _| ());
        assert!((at[0] - 1.0).abs() < 1e-4 && (at[1] - 1.0).abs() < 1e-4, "{at:?}");
        assert!(iterations < 60, "{iterations} iterations");
    }

    #[test]
    fn at_a_minimum_it_stops() {
        let objective = |x: &[f64], gradient: &mut [f64]| {
            gradient[0] = 2.0 * x[0];
            x[0] * x[0]
        };
        let mut at = vec![0.0];
        assert_eq!(minimise(&mut at, objective, 10, &mut |_, _| ()), 0);
        assert_eq!(at, [0.0]);
    }
}
