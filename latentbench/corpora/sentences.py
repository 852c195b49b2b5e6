"""What the made speakers say: sentences of our own, of three to eight seconds."""

from __future__ import annotations

__all__ = ["SENTENCES"]

SENTENCES = (
    "The bakery on the corner opens at six, and by seven the warm bread is usually gone.",
    "Could you tell me whether the last train to the coast still stops at the old harbour?",
    "She folded the map twice, put it in her coat, and walked on without looking back.",
    "In spring the river climbs over its banks, so nobody plants anything near the bridge.",
    "My grandmother kept seventeen clocks, and not two of them ever agreed about the time.",
    "If the rain holds off until Thursday, we should manage to paint the whole fence.",
    "He measured the shelf, measured it again, and still cut the board a little too short.",
    "Please leave the blue parcel with the neighbours, and ask them to keep it out of the sun.",
    "The orchestra had already begun to tune when a sparrow flew in through the open window.",
    "What surprised everyone was how quietly such a large machine could do its work.",
    "Two cups of flour, a pinch of salt, and enough cold water to bring the dough together.",
    "They say the lighthouse keeper could name every ship by the sound of its horn.",
    "After the long meeting, Victoria opened a window and simply listened to the street.",
    "Nobody on the island owned a car, yet the children drew traffic jams with great care.",
    "I would rather take the path through the woods, even though it takes a good deal longer.",
    "The museum lends out umbrellas, provided that you promise to bring them back dry.",
    "Why does the kitchen light flicker whenever somebody upstairs is playing the piano?",
    "Eight young goats escaped before breakfast and were found asleep behind the chapel.",
    "His handwriting was so small that the whole story fitted on the back of a ticket.",
    "We counted the stars above the valley until the cold drove us back to the fire.",
)
