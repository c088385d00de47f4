//! Situations as data.

/// A situation: how it is staged, and what is asked in it.
#[derive(Debug)]
pub(crate) struct Situation {
    pub(crate) title: String,
    pub(crate) stage: Vec<String>,
    pub(crate) questions: Vec<String>,
}

impl Situation {
    /// Reads the file of situations.
    pub(crate) fn all(text: &str) -> Vec<Self> {
        let mut situations: Vec<Self> = Vec::new();
        for line in text.lines() {
            let last = situations.last_mut();
            match (line.split_once(' '), last) {
                (Some(("#", title)), _) => situations.push(Self {
                    title: title.to_owned(),
                    stage: Vec::new(),
                    questions: Vec::new(),
                }),
                (Some(("stage", step)), Some(last)) => last.stage.push(step.to_owned()),
                (Some(("ask", question)), Some(last)) => last.questions.push(question.to_owned()),
                (_, Some(_)) => assert_eq!(line, "", "a line of situations.txt"),
                // The head of the file.
                (_, None) => {}
            }
        }
        situations
    }
}
