"""What everybody was told, and what must be true of it: order, ids, and nothing lost without a word (docs/protocol.md)."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Story:
    """What one subscriber was told, in order."""

    name: str
    heard: list[tuple[str | None, str]] = field(default_factory=list)
    """Id and text of each message; a raw WebSocket tells no ids."""
    resumes: list[int] = field(default_factory=list)
    """How much had been heard each time that it came back."""
    gaps: list[tuple[int, str, str]] = field(default_factory=list)
    """How much had been heard before each gap, its reason, and its cursor."""
    ends: Counter[str] = field(default_factory=Counter)
    """How its connections and attempts ended."""
    problems: list[str] = field(default_factory=list)
    """What may never happen to anybody."""
    is_ready: bool = False

    def joined(self) -> None:
        if self.is_ready:
            self.resumes.append(len(self.heard))
        self.is_ready = True

    def told(self, id: str | None, text: str) -> None:
        self.heard.append((id, text))

    def gap(self, reason: str, cursor: str) -> None:
        self.gaps.append((len(self.heard), reason, cursor))

    def texts(self) -> list[str]:
        """Each text once, where it came first."""
        return list(dict.fromkeys(text for _, text in self.heard))

    def repetitions(self) -> int:
        return len(self.heard) - len(self.texts())

    def strayed(self) -> list[str]:
        """Repetitions that do not follow a resume at once, which nothing excuses."""
        seen, strayed, excused = set(), [], False
        for at, (id, text) in enumerate(self.heard):
            excused = excused or at in self.resumes
            # Without ids nobody can tell a message that was lost, and published again, from a repetition.
            message = id or (text, sum(gap <= at for gap, _, _ in self.gaps))
            if message not in seen:
                excused = False
            elif not excused:
                strayed.append(f"{self.name} heard {text} again, out of the blue")
            seen.add(message)
        return strayed


@dataclass
class Ledger:
    """All stories, and what was acknowledged to publishers."""

    stories: list[Story] = field(default_factory=list)
    acked: dict[str, str] = field(default_factory=dict)
    """The id of each text."""
    answers: Counter[str] = field(default_factory=Counter)
    """How tries to publish were answered."""
    problems: list[str] = field(default_factory=list)

    def story(self, name: str) -> Story:
        self.stories.append(Story(name))
        return self.stories[-1]

    def all_ready(self) -> bool:
        return all(story.is_ready for story in self.stories)

    def all_told(self) -> bool:
        """Whether everybody has heard all that was acknowledged."""
        return all(self.acked.keys() <= {text for _, text in story.heard} for story in self.stories)

    def verdict(self, every: bool = True) -> list[str]:
        """What is wrong. With `every`, everybody must have heard everything, and no gap may have been told."""
        wrong = [*self.problems, *(problem for story in self.stories for problem in story.problems)]
        wrong += [stray for story in self.stories for stray in story.strayed()]
        wrong += self._ids_that_stand_for_two()
        if not every:
            return wrong
        ids = {(text, id) for story in self.stories for id, text in story.heard if id is not None}
        twice = [text for text, times in Counter(text for text, _ in ids).items() if times > 1]
        wrong += [f"{text} was published twice" for text in twice]
        wrong += [f"{story.name} was told of gaps: {story.gaps}" for story in self.stories if story.gaps]
        order = max((story.texts() for story in self.stories), key=len)
        for story in self.stories:
            texts = story.texts()
            if lost := self.acked.keys() - set(texts):
                wrong.append(f"{story.name} lost {len(lost)}: {sorted(lost)[:5]}")
            elif texts != order:
                at = next(at for at, pair in enumerate(zip(texts, order)) if pair[0] != pair[1])
                wrong.append(f"{story.name} heard {texts[at]} where others heard {order[at]}")
        return wrong

    def _ids_that_stand_for_two(self) -> list[str]:
        stands_for: dict[str, str] = {}
        pairs = [(id, text) for text, id in self.acked.items()]
        pairs += [pair for story in self.stories for pair in story.heard]
        return [
            f"{id} stands for {text} and for {other}"
            for id, text in pairs
            if id is not None and (other := stands_for.setdefault(id, text)) != text
        ]

    def tally(self) -> str:
        """What happened, in lines for people."""
        ends: Counter[str] = sum((story.ends for story in self.stories), Counter())
        lines = {
            "messages acknowledged": len(self.acked),
            "deliveries": sum(len(story.heard) for story in self.stories),
            "subscribers": len(self.stories),
            "resumes": sum(len(story.resumes) for story in self.stories),
            "repetitions, each after a resume": sum(story.repetitions() for story in self.stories),
            "gaps": sum(len(story.gaps) for story in self.stories),
            "tries to publish": dict(self.answers),
            "how connections ended": dict(ends),
        }
        return "\n".join(f"  {name}: {value}" for name, value in lines.items())


def generation(id: str) -> str:
    """The life of the log that an id belongs to. Clients may not look; whoever checks the promises has to."""
    return id.split(".")[0]
