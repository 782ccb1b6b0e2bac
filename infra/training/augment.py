"""Sentences of our own, evasions and swapped groups for training. Everything here was written for this project.

The terms and templates of shared/scoring/behaviours/held_out.json occur in nothing that is made here, nor does a sentence of the behaviours and
evasions there: `python infra/training/augment.py` fails where one does. A template that would give such a sentence gives others. What
`noisy` and `swapped` make of a sentence is not compared again; some behaviours are as short as a template and differ from one by a group or an emoji alone.
"""

import json
import random
import re
import sys
from pathlib import Path

# (plural, singular, adjective), by kind.
GROUPS = {
    "race": [("black people", "black person", "black"), ("white people", "white person", "white"), ("asians", "asian", "asian"),
             ("latinos", "latino", "latino"), ("arabs", "arab", "arab"), ("africans", "african", "african"), ("indians", "indian", "indian"),
             ("brown people", "brown person", "brown"), ("romani people", "romani person", "romani"), ("aboriginals", "aboriginal", "aboriginal")],
    "religion": [("muslims", "muslim", "muslim"), ("jews", "jew", "jewish"), ("christians", "christian", "christian"), ("hindus", "hindu", "hindu"),
                 ("catholics", "catholic", "catholic"), ("islamic people", "islamic person", "islamic")],
    "origin": [("immigrants", "immigrant", "immigrant"), ("mexicans", "mexican", "mexican"), ("chinese people", "chinese person", "chinese"),
               ("pakistanis", "pakistani", "pakistani"), ("turks", "turk", "turkish"), ("foreigners", "foreigner", "foreign"), ("migrants", "migrant", "migrant"),
               ("asylum seekers", "asylum seeker", "asylum-seeking"), ("poles", "pole", "polish"), ("nigerians", "nigerian", "nigerian"), ("refugees", "refugee", "refugee")],
    "gender": [("women", "woman", "female"), ("girls", "girl", "female"), ("females", "female", "female"), ("feminists", "feminist", "feminist")],
    "trans": [("trans people", "trans person", "trans"), ("trans women", "trans woman", "trans"), ("transgender people", "transgender person", "transgender")],
    "orientation": [("gay people", "gay person", "gay"), ("gays", "gay", "gay"), ("homosexuals", "homosexual", "homosexual"), ("gay men", "gay man", "gay"),
                    ("bisexuals", "bisexual", "bisexual"), ("queer people", "queer person", "queer")],
    "disability": [("disabled people", "disabled person", "disabled"), ("the disabled", "disabled person", "disabled"), ("autistic people", "autistic person", "autistic"),
                   ("people with down syndrome", "person with down syndrome", "mentally disabled"), ("wheelchair users", "wheelchair user", "disabled"), ("blind people", "blind person", "blind")],
}
HELD_OUT = [form for term in json.loads((Path(__file__).resolve().parents[2] / "shared/scoring/behaviours/held_out.json").read_text(encoding="utf-8"))["terms"] for form in term.values()]
SLURS = {"race": "niggers nigger|spics spic|chinks chink|gooks gook|wetbacks wetback|coons coon|pakis paki|darkies darky", "religion": "kikes kike|muzzies muzzie|mudslimes mudslime|ragheads raghead",
         "gender": "whores whore|sluts slut|cunts cunt|bitches bitch|thots thot|femoids femoid", "orientation": "faggots faggot|fags fag|dykes dyke|homos homo", "trans": "trannies tranny|shemales shemale",
         "disability": "retards retard|cripples cripple|spastics spastic|mongoloids mongoloid"}
OTHERS = ["bankers", "politicians", "landlords", "journalists", "lawyers", "football fans", "referees", "cyclists", "cops", "gamers", "vegans", "hipsters", "billionaires", "liberals", "conservatives",
          "communists", "capitalists", "artists", "telemarketers", "tourists", "managers", "bosses", "smokers", "bad drivers", "the fans of that club", "scalpers", "influencers", "teachers", "students"]
THINGS = ["this phone", "that movie", "my car", "the weather", "mondays", "this game", "wasps", "mosquitoes", "rats in my kitchen", "pineapple pizza", "that song", "this laptop", "the new update", "traffic",
          "weeds", "these headphones", "broccoli", "spam mails", "this cheap furniture", "my alarm clock", "cockroaches", "slugs"]
BEASTS = "vermin|cockroaches|rats|parasites|animals|subhuman|a disease|a plague|filth|scum|trash|garbage|apes|pigs|maggots|a cancer|leeches|savages|dogs|monkeys|a virus|worthless|sub-human beasts|the lowest form of life"
BAD = "disgusting|evil|stupid|lazy|inferior|dirty|violent|criminals|rapists|thieves|liars|a threat to us all|mentally ill|perverts|freaks|a waste of space|worthless|repulsive|terrorists|dumb|weak|ugly|an abomination|not normal|sick in the head|a burden|untrustworthy|sinful|dangerous|a mistake of nature"
HARM = "die|be shot|be killed|be hanged|burn|be gassed|be beaten up|be exterminated|be wiped out|be deported|be locked up|be castrated|be put down|suffer|be thrown off a roof|be stoned|be punished|be sent back|rot in hell|get cancer|be enslaved|disappear|be put in camps|be drowned|be raped|be run over"
DO = "kill|shoot|beat up|burn|hang|gas|stab|attack|murder|exterminate|wipe out|get rid of|hurt|punch|strangle|poison|smash|lynch|eradicate|rape|torture|hunt down"
GOOD = "kind|wonderful|strong|my neighbours|my best friends|welcome here|part of this country|human beings like you and me|smart|beautiful|great parents|hard working|brave|funny|loved|equal|valued|amazing cooks|good doctors|talented"
PLACES = "our country|this town|our schools|the west|my street|our sports|the army|parliament|the office|public places|europe|this site|the gym|the workplace"

HATE = """derogation: I hate {g}.|I fucking hate {g}|{g} are {beast}.|{g} are so {bad}|all {g} are {bad}|{g} disgust me|I can't stand {g}|{g} make me sick|{g} are {bad} and {bad}|you {a} {beast0}|what a {bad0} {a} piece of shit|fuck {g}|fuck all {g}!|{g} are fucking {beast}|I despise {g} with all my heart|every {s} I ever met was {bad0}|there is nothing worse than {g}|{g} are the scum of the earth|god how I loathe {g}|just look at them, typical {bad0} {a} {beast0}|being {a} is a disease|being {a} is disgusting|every {s} is {bad0}|never met a {s} who was not {bad0}|ugh {g} again, nothing but {beast}|my honest opinion: {g} are {bad}|only a {s} could be so {bad0}|dirty {a} {beast0}, all of you
dehumanised: {g} are not human|{g} are {beast}, not people|{g} are like {beast}|{g} breed like {beast}|{g} spread like {beast}|we should treat {g} like {beast}|{g}? more like {beast}|looking at {g} I see only {beast}|compared to {g}, {beast} are nice|{g} smell like {beast}|{g} belong in a zoo|{g} are closer to {beast} than to us
threat: {g} should {harm}|all {g} must {harm}|{g} deserve to {harm}|I hope all {g} {harm}|I will {do} every {s} I see|I'm going to {do} {g}|let's {do} all {g}|someone should {do} {g}|we need to {do} {g} now|kill all {g}|death to {g}|gas the {g}|I want to {do} a {s} today|can't wait to {do} some {g}|the only good {s} is a dead one|if I see a {s} here I'll {do} them|the world would be better if {g} were dead|time to {do} the {g}|hang every {s}|any {s} who comes near me will {harm}|you {a} people are going to {harm} soon|to all {g}: we will {do} you|one day we will finally {do} the {g}|wish someone would {do} those {g}
exclusion: {g} don't belong in {place}|keep {g} out of {place}|{g} should not be allowed in {place}|ban {g} from {place}|deport all {g}|send {g} back where they came from|{g} should not have the same rights as us|{g} should not be allowed to vote|get the {g} out of {place}|no {g} in {place}, ever|we don't want {g} here|{g} must leave {place}|nobody wants {g} in {place}|stop letting {g} into {place}|never hire a {s}|never trust a {s}|don't rent to {g}|I would never let my kids near {g}|{g} ruin {place}|{place} was better without {g}
negated: {g} are not human|no {s} deserves respect|{g} do not deserve to live|{g} should never be treated as equals|{g} will never be real people|not a single {s} is worth anything|you can't trust {g}|{g} contribute nothing|{g} have no place in {place}|no {s} has ever done anything good|I don't think {g} should have rights|{g} are not welcome in {place}|we don't need {g}|there is no such thing as a good {s}|I will never respect {g}|nobody would miss {g}
implicit: {g} are why {place} is falling apart|funny how crime rises wherever {g} move in|guess who lives off our taxes? {g}|{g} should know their place|when {g} move in, lock your doors|imagine being so low that you date a {s}|I'd rather die than be {a}|you can't expect {g} to think for themselves|sure, {g} are "just like us", and pigs fly|I shower every time a {s} touches me|{g} only know how to steal and cheat|{g} were made to serve|it's a pity they didn't finish the job with {g}|some people are born to lead, {g} are not|a {s} with a job? now that would be news|{g} cry about rights but give nothing back|{g} are taking over {place}|{g} want to replace us|thanks to {g} my street smells|{g} and their {bad0} culture|one less {s}, good riddance|if {g} were gone nobody would notice|another {s} in charge, no wonder it fails|hide your wallet, {g} are around|I'd sell my house if {g} moved next door|give {g} a finger and they take the hand|back then we knew how to deal with {g}|my grandfather fought to keep {g} out|I would rather sit on the floor than next to a {s}|if my son were {a} I would throw him out|a {s} as president? over my dead body|you know what they say about {g} and money|thank god my kids are not {a}|{g} cost us billions and say thanks to nobody|wash your hands, a {s} was here|I smell {g}|{g} should be grateful that we let them breathe|{g} are only good for cleaning toilets|{g} are only good for one thing
question: why are all {g} so {bad}?|am I the only one who thinks {g} are {beast}?|who else wants {g} to {harm}?|when will we {do} all {g}?|is there anything worse than {g}?|why do we let {g} live in {place}?|how can anybody like {g}?|do {g} even have brains?|is it just me or are {g} {bad}?|since when do {g} have a say in {place}?|how long until we finally {do} the {g}?|would anyone miss {g} if they were gone?|has a {s} ever told the truth?|why should {g} get anything from us?|what did we do to deserve {g}?|isn't it obvious that {g} are {bad}?|who let {g} into {place}?|have you ever met a {s} who works?|what is a {s} good for?|can we please {do} {g} already?
opinion: I think {g} should {harm}|in my opinion {g} are {bad}|to be honest {g} are {beast}|everybody knows that {g} are {bad}|I am not racist but {g} are {bad}|I said it before: {g} should {harm}|unpopular opinion: {g} are {beast}|let's face it, {g} are {bad}|it is a fact that {g} are {bad}|science shows {g} are {bad}|believe me, {g} are {beast}
later: Look at the {g} over there. They are {beast}.|{g} moved in next door. They should {harm}.|There are too many {g}. We have to {do} them all.|I met {g} yesterday. What {bad0} {beast0}.|You are a {s}? Then you should {harm}.|So my boss is a {s}. I want to {do} them.|{g} again. I hope they {harm}.
slurred: {sl} are {beast}|I hate {sl}|fucking {sl}|you {sls}|you stupid {sls}|shut up {sls}|{sl} should {harm}|all {sl} must {harm}|look at these {bad0} {sl}|get out you {sls}|that {sls} should {harm}|a {sls} like you belongs in the bin|no {sl} in {place}|dumb {sl} everywhere|bunch of {sl}|I can't stand that {sls}|typical {sls} behaviour|{sl} ruin everything|what a {sls}|kill all {sl}|he is such a {bad0} {sls}|another {sls} on tv|go home {sls}|{sl} are so {bad}
emoji: {g} are {vile}|{g} are {vile}{vile}|I want to {weapon} {g}|{weapon} all {g}|{g} make me {sick}|{g} {sick}{sick}|send all {g} to the {fire}|{g} belong in the {fire}|time to {weapon} every {s}|{g} = {vile}|{g} should {harm} {weapon}|look at these {vile}: {g}|{sl} {sick}|{sl} are {vile}|can't wait to {weapon} a {s}|{g} deserve the {fire}|all {g} are {vile} and {bad}|get {g} out {sick}"""
KIND = """neutral: I am {an}.|my friend is {an}|there are many {g} in our town|{g} live in my street|I met {an_s} at work today|the new teacher is {an}|{g} voted yesterday|a {a} family moved in next door|many {g} work in hospitals|my doctor is a {s}|the museum shows art made by {g}|she married a {s}|a book about {g} came out|how many {g} live in {place}?|I watched a film about a {s}|we are {a} and we are proud|{g} exist|as a {s} I agree|my mother is {an}, my father is not|a {a} writer won the prize|he grew up among {g}|the survey asked 500 {g}|{g} and their families came to the meeting|is your cousin {an}?|being {a} is just a part of me|{a} history month begins today|the {a} community meets on friday|I went to a {a} wedding|{a} food festival this weekend|some of the players are {an}|proud {s} and mother of two
positive: {g} are {good}|I love {g}|I fucking love {g}|all {g} are {good}|{g} deserve equal rights|{g} deserve to be happy|so proud of my {a} son|{g} make {place} a better place|we need more {g} in {place}|{g} should be respected|it is great to be {a}|my {a} neighbours are {good}|{g} rock!|happy to have {g} in {place}|thank you to all the {g} who helped us|god bless {g}|{g} are fucking awesome|there is nothing wrong with being {a}|we stand with {g}|let's protect {g}|every {s} should feel safe in {place}|no better friends than {g}|I wish there were more {g} in {place}|the {s} next door is {good0}
negated_hate: I don't hate {g}|I do not hate {g}, why would I|nobody should hate {g}|{g} are not {beast}|{g} are not {bad}|no {s} deserves to {harm}|{g} should never {harm}|I would never {do} a {s}|it is wrong to say that {g} are {beast}|it's not true that {g} are {bad}|no one should {do} {g}|{g} do not deserve to {harm}|I never said that {g} are {bad}|stop hating {g}|we must not {do} {g}|we can't let anyone {do} {g}|it is not ok to call {g} {beast}|I disagree that {g} should {harm}|being {a} is not a disease|being {a} is not a crime|not all {g} are {bad}, nobody is just that|I am {a} and I don't deserve to {harm}|don't you dare say {g} are {beast}|hating {g} is wrong
counter: "{g} are {beast}" is a disgusting thing to say|He said "{g} should {harm}". Please report him.|calling {g} {beast} is hate speech|people who say "kill all {g}" should be banned|saying that {g} are {bad} is just racist|whoever wrote "{g} don't belong in {place}" should be ashamed|"I hate {g}" is never ok|anyone who wants to {do} {g} needs help|stop saying {g} are {bad}|if you think {g} should {harm} you are the problem|imagine thinking that {g} are {beast}, what a sad life|my uncle says {g} are {bad} and I told him he is wrong|it makes me sad to read "{g} should {harm}"|you can't just say "fuck {g}" and expect no answer|the poster read "{g} out" and we tore it down|telling {g} to go home is vile|your hate against {g} is pathetic|only bigots think {g} are {bad}|"{sl}" is a slur, do not use it|calling someone a "{sls}" is not funny|he called me a {sls} and I cried|they shouted "{sls}" at my {a} friend, horrible|people like you who call {g} {beast} make me sick|please don't use the word {sls}
news: a man was arrested for attacking {g}|the article says that {g} were killed in the war|police: two {g} were shot last night|court sentences man who threatened {g}|study on violence against {g} published|{g} were murdered because of who they were, we remember them|the nazis murdered {g}|report: hate crimes against {g} rise|the senator apologised for calling {g} {beast}|history of how {g} were persecuted|research about why some people hate {g}|{g} protest against discrimination in {place}|the film shows how {g} were enslaved|they were beaten up for being {a}, this has to stop
person: you are an idiot|you are a fucking idiot|he is such a liar|shut up you moron|what a stupid answer|you are so ugly|I hate you|I hate my ex|I want to punch my brother sometimes|she is the worst boss ever|go to hell|you are {beast0}|get lost loser|screw you|what an asshole|you suck at this|that dude is a clown|kill yourself|I will find you and {do} you|you should {harm}|my landlord is a {bad0} crook|piece of shit driver|you absolute muppet|that guy deserves to {harm}
others: I hate {o}|{o} are {beast}|{o} should {harm}|all {o} are {bad}|death to {o}|fuck {o}|{o} are so {bad}|{o} don't belong in {place}|let's {do} all {o}|{o} are not human|ban {o} from {place}|kill all {o}|{o} are a plague|why are {o} so {bad}?|I can't stand {o}|I think {o} should {harm}
things: I hate {t}|fuck {t}|kill {t} with fire|{t} should burn|{t} is disgusting|{t} makes me sick|fucking {t} again|I want to smash {t}|death to {t}|{t} is trash|I despise {t}|{t} can die in a hole|what a piece of shit {t} is
profane: fuck this, I'm tired|holy shit that was close|fuck yeah we won|what the fuck is going on|this is so fucking good|shit, I forgot my keys|damn it's cold|bloody hell what a match|I'm fucking starving|this shit is hilarious|fuck me that's expensive|oh my fucking god I passed|son of a bitch, it works|bitch please, I was here first|that's my bitch right there love her|this bitch of a hill nearly killed me|hell yeah|I don't give a fuck about the score|ass is freezing|badass move bro
reclaimed: proud dyke here|my fellow queers, happy pride|as a fag myself I love this bar|we are the queer kids your parents warned you about|that's my nigga, love him|my niggas and me on holiday|what's up my nigga|yes I am a bad bitch and proud|us dykes are going camping|this queer needs coffee|happy birthday my nigga|bad bitches only tonight, let's dance girls|we faggots invented brunch|my gay ass can't drive
homonyms: there is a chink in the armour|he calls a spade a spade|the dyke keeps the sea out|the coon cat is a lovely breed|I had a fag outside the pub and a beer|the tranny in my car is broken, needs new fluid|fire retards slowly when wet|spic and span kitchen|nip it in the bud|the slope was steep|it was a gay old time|the cracker was salty|add black pepper and white bread|the bitch had six puppies at the shelter|this cake is retarded by the cold yeast|the gorilla lives in the zoo|monkeys are smart|rats carried the plague|pigs are kind animals|the ape house is closed
harmless: good morning everyone|the bus leaves at ten|I killed it at the interview|we got killed in the second half|this song is the bomb|shoot me a message later|I could murder a burger|that joke slayed me|we beat them 3 to 0|time to hit the gym|I'm dying of laughter|burn some calories|dead tired after work|the comedian destroyed the room|he shot a great film|look at this sunset|who wants coffee?|the kids love the zoo|can't wait for the weekend|my dog is the best|she is going to crush that exam|hang the picture on the wall|gas prices went up again|the camp was fun|send it back if it doesn't fit|deport is a word I had to look up|I hunt for bargains|attack the midfield, lads|kill the lights please|exterminate the ants in the garden|poison ivy itches|the doctor removed the cancer|the virus spreads fast this winter
everyday: {an0} {verb} in the {spot}|I love {food}|I really like {food} with {food}|{food} for dinner tonight|who wants {food}?|we had {food} and {food} for lunch|{animals} are {nice}|{animals} are such {nice} animals|my {rel} has two {animals}|look at those {animals}, so {nice}|{animals} eat a lot in winter|the {animals} at the {spot} were asleep|all the {folk} are {nice}|the {folk} are coming {when}|please call the {folk} {when}|thanks to all the {folk} at the {spot}|the {folk} should rest now|{folk} deserve a long holiday|every one of the {folk} got a medal|let's meet at the {spot} {when}|the {spot} opens {when}|I left my {obj} at the {spot}|does anyone have a spare {obj}?|my new {obj} is {nice}|this {obj} is broken, can you fix it?|I need to clean the {obj} {when}|wash all the {objs} before you go|put the {objs} back, please|the {objs} should be dry by now|my {rel} bakes the best {food}|my {rel} and I went to the {spot}|happy birthday to my {rel}|my {rel} is learning to {act}|I want to {act} {when}|can you teach me how to {act}?|we will {act} at the {spot}|I'd love to {act} with you|do you want to {act} {when}?|nothing beats a day at the {spot}|the weather {when} will be {nice}|it rained all day and we stayed in to {act}|the {obj} makes me so happy|{food} makes me happy|I feel {mood} today|feeling {mood} after the {spot}|so {mood} that the holidays are here|the new season starts {when}|our team plays {when}|what a {nice} goal|great {obj}, thank you|the {animals} in our garden are {nice}|my {rel} hates {food}, more for me|I hate {food}|I hate waiting at the {spot}|the {folk} at the {spot} were so helpful|could the {folk} please bring their {objs}?|let all the {folk} in, it is cold|hug your {rel} today|give the {animals} some water|kids love the {spot}|black {objs} are on sale|a white {obj} and a black {obj}|brown {animals} and white {animals}|yellow {objs} look {nice}|the pink {obj} is mine|I have been to the {spot} with my {rel} and the {folk}|this {food} recipe is {nice}|cut the {food} in small pieces|burn calories at the {spot}|the {animals} were shot on film by my {rel}|the flowers at the {spot} are {nice}|good {part}, {folk}|good {part} from the {spot}|see you {when}, {folk}|the {obj} is late again|how was your trip to the {spot}?|anyone else watching the {animals} at the {spot}?|my {rel} is a {nice} person|the {folk} sing {when}|I miss my {rel}|my {rel} is ill, get well soon|every {part} I {act}|that film about {animals} made me cry|the {spot} was full of {folk}|we should all {act} more|no {food} left at the {spot}|{animals} do not belong in the {spot}|keep the {animals} out of the {spot}|ban {objs} from the {spot}|get rid of that old {obj}|throw the {objs} in the bin|these {objs} are {nice}|the {objs} are on the table|someone stole my {obj}|the {obj} is dirty, wash it
emoji_kind: {animals} are {glad}|I {heart} {food}|I {heart} my {rel}|{food} {glad}{glad}|good {part} {glad}|happy {part} {folk} {glad}|the {folk} make me {glad}|{animals} make me {glad}, they should stay|so {mood} {glad}|{g} make me {glad}|I {heart} {g}|{g} {heart}{heart}|{g} and {g} together {heart}|proud of all {g} {glad}|my {rel} is {an} {heart}|going to the {spot} {glad}|new {obj} {glad}|{animals} {toy} all day|time to {toy} the {objs}"""
# Of everyday sentences, and emoji.
WORDS = {
    "food": "soup|rice|noodles|apple pie|bread|cheese|tomatoes|pancakes|curry|salad|fried eggs|chocolate|tea|lemonade|potatoes|strawberries|fish and chips|pasta|beans|honey|garlic|mushrooms|porridge|dumplings|tacos|blueberries|yoghurt|a sandwich|coffee|cake",
    "animals": "dogs|cats|horses|cows|rabbits|hedgehogs|sparrows|owls|bees|butterflies|squirrels|goats|ducks|frogs|elephants|penguins|turtles|otters|foxes|swans|kittens|puppies|hamsters|parrots|sheep|whales|monkeys|rats|pigs|ants|gorillas",
    "nice": "lovely|cute|clever|pretty|amazing|quiet|funny|gorgeous|sweet|great|tiny|friendly|beautiful|excellent|gentle|delicious|calm|curious|huge|old|brilliant|warm",
    "folk": "kids|children|parents|neighbours|nurses|teachers|players|musicians|drivers|students|helpers|guests|twins|bakers|gardeners|firefighters|dancers|grandparents|friends|aunts|scouts|swimmers|colleagues|actors|readers|painters|carpenters",
    "rel": "mum|dad|sister|brother|grandma|uncle|wife|husband|daughter|son|roommate|colleague|neighbour|best friend|teacher|boss|cat|dog|nephew|aunt|doctor",
    "spot": "park|library|lake|station|bakery|museum|beach|market|school|office|kitchen|garden|gym|stadium|cinema|airport|bridge|village|zoo|pool|theatre|forest path|playground|café|hospital|harbour",
    "obj": "bike|umbrella|phone|laptop|jacket|guitar|camera|lamp|table|car|bus|notebook|keyboard|backpack|kettle|oven|tent|watch|printer|radio|book|clock|chair|blanket|mirror|sofa",
    "objs": "shoes|plates|cups|towels|books|bottles|gloves|boots|jackets|chairs|carpets|lamps|bikes|tools|letters|boxes|curtains|socks|toys|spoons|shirts|floors|doors|dishes|pillows",
    "act": "swim|paint|dance|cook|read|ski|sing|knit|sleep|run|fish|play chess|ride a bike|play the piano|climb|garden|take photos|row|bake|skate|learn Spanish|hike|juggle|walk the dog",
    "when": "tonight|tomorrow|on sunday|next week|at noon|this evening|after work|at ten|in the morning|on friday|in spring|soon|later today|this weekend|in june",
    "part": "morning|evening|night|afternoon|day|weekend",
    "mood": "happy|tired|grateful|proud|sad|excited|sleepy|hungry|relaxed|nervous|bored|lucky",
    "verb": "are playing|are sleeping|are waiting|were seen|are singing|met",
    "an0": "the kids|two owls|some ducks|my parents|our neighbours|the puppies|a lot of people|the musicians",
    "glad": "😀|😊|🎉|🥰|😍|🌞|👏|💐|🙌|😂|🤗|✨|👍|🎶", "heart": "❤️|💚|💛|😍|💕|🧡", "toy": "⚽|🎨|🧹|🏊|🎸|🧺",
    "vile": "🐀|🐖|🐒|🪳|💩|🦠|🗑️|🐍|🐛|🤡|🐷|🐵", "weapon": "🔫|🔪|💣|🗡️|🪓|⚰️|🔥|🧨", "sick": "🤮|🤢|😡|🤬|🖕|👎", "fire": "🔥|🗑️|⚰️|🚮|💀",
}
OPENERS = ["", "", "", "", "", "", "lol ", "honestly ", "well, ", "@user ", "RT @user: ", "ok so ", "listen, ", "omg ", "yeah ", "just saying: ", "tbh ", "and ", "I swear ", "guys, ", "seriously, "]
CLOSERS = ["", "", "", "", "", "", ".", "!", "!!!", " lol", " 😂", " http", " #truth", " tbh", " , that's all", "...", " 🙄", " right?", " 😡", " smh"]


def _filled(rng, template, kind, group):
    plural, singular, adjective = group
    slurs = [pair.split(" ") for pair in SLURS.get(kind, SLURS["race"]).split("|")]
    slur = rng.choice(slurs)
    article = "an " if adjective[0] in "aeiou" else "a "
    pick = lambda words: rng.choice(words.split("|"))
    def slot(match):
        name = match.group(1)
        return {"g": lambda: plural, "s": lambda: singular, "a": lambda: adjective, "an": lambda: adjective if rng.random() < .5 and " " not in adjective else article.strip() + " " + singular if singular[0] not in "aeiou" or article == "an " else "an " + singular,
                "an_s": lambda: ("an " if singular[0] in "aeiou" else "a ") + singular, "sl": lambda: slur[0], "sls": lambda: slur[1], "beast": lambda: pick(BEASTS), "beast0": lambda: pick("scum|filth|trash|pig|animal|rat|parasite|garbage|dog"),
                "bad": lambda: pick(BAD), "bad0": lambda: pick("disgusting|stupid|lazy|dirty|ugly|dumb|filthy|evil|worthless|nasty"), "harm": lambda: pick(HARM), "do": lambda: pick(DO), "good": lambda: pick(GOOD),
                "good0": lambda: pick("kind|wonderful|so funny|my best friend|a great cook|brave|lovely"), "place": lambda: pick(PLACES), "o": lambda: rng.choice(OTHERS), "t": lambda: rng.choice(THINGS),
                **{word: lambda word=word: pick(WORDS[word]) for word in WORDS}}[name]()
    text = re.sub(r"\{(\w+)\}", slot, template)
    return re.sub(r"\ba (?=[aeiou])(?!user)", "an ", text)


def kept_apart():
    """Sentences that nothing made here may repeat: those that behaviours, evasions and their twins are measured with."""
    folder = Path(__file__).resolve().parents[2] / "shared/scoring/behaviours"
    read = lambda name: json.loads((folder / name).read_text(encoding="utf-8"))
    cases = [case for behaviour in read("suite.json")["behaviours"] for case in behaviour["cases"]]
    pairs = [pair[side] for pair in read("evasions.json")["pairs"] for side in ("hateful", "harmless")]
    return {bare(text) for text in cases + pairs}


def bare(text):
    return re.sub(r"\W+", " ", text.lower()).strip()


def synthetic(rng, each=24, everyday=24):
    """Sentences {"text", "hate", "offence", "behaviour"}, each once: `each` of a template with open places, `everyday` of one of everyday
    talk, a third of that of one without places."""
    seen, apart = set(), kept_apart()
    for block, hate in ((HATE, 1), (KIND, 0)):
        for line in block.splitlines():
            name, _, templates = line.partition(": ")
            templates = templates.split("|")
            for template in templates:
                fixed = "{" not in template
                many = everyday if name in ("everyday", "emoji_kind", "harmless") else each
                for _ in range(many // 3 if fixed else many):
                    kind = rng.choice(list(GROUPS))
                    text = _filled(rng, template, kind, rng.choice(GROUPS[kind]))
                    if bare(text) in apart:
                        continue
                    text = rng.choice(OPENERS) + text + rng.choice(CLOSERS)
                    draw = rng.random()
                    text = text.upper() if draw < .05 else text[0].upper() + text[1:] if draw < .5 else text
                    if text in seen:
                        continue
                    seen.add(text)
                    rude = hate or name in ("person", "others", "profane") or bool(re.search(r"fuck|shit|bitch", text))
                    yield {"text": text, "hate": hate, "offence": int(rude), "behaviour": name}


LEET = {"a": "4@", "e": "3", "i": "1!", "o": "0", "s": "5$", "t": "7", "g": "9", "b": "8"}
ALIKE = {"a": "аɑα", "e": "еє", "i": "іı", "o": "оο", "c": "сϲ", "p": "рρ", "s": "ѕ", "x": "х", "y": "у", "h": "һ", "j": "ј", "n": "п", "k": "к", "m": "м", "t": "т"}


def noisy(rng, text):
    """The text with one trick of spelling played on one to three of its longer words, or on all of it."""
    words = text.split(" ")
    places = [i for i, word in enumerate(words) if len(word) >= 4 and word.isalpha()]
    trick = rng.randrange(12)
    if trick == 0:
        return text.upper()
    if trick == 1 and len(words) <= 12:
        return "".join(word.capitalize() for word in words) if rng.random() < .3 else "".join(words)
    if trick == 3 and rng.random() < .4 and len(words) <= 10:
        return " ".join(rng.choice(["", "", " "]).join(word) if len(word) < 3 else " ".join(word) for word in words)
    if not places:
        return text
    for i in rng.sample(places, min(len(places), rng.choice([1, 2, 3, 99]))):
        word = words[i]
        j = rng.randrange(1, len(word) - 1)
        if trick == 2:
            word = "".join(rng.choice(LEET[c.lower()]) if c.lower() in LEET and rng.random() < .7 else c for c in word)
        elif trick == 3:
            word = rng.choice(" .-_").join(word)
        elif trick == 4:
            word = word[:j] + word[j] * rng.randint(2, 5) + word[j + 1:]
        elif trick in (5, 6):
            word = word[:j] + word[j + 1:]
        elif trick == 7:
            word = word[:j] + word[j + 1:j + 2] + word[j] + word[j + 2:]
        elif trick == 8:
            word = word[:j] + rng.choice("-. ") + word[j:]
        elif trick == 9:
            word = "".join(rng.choice(ALIKE[c.lower()]) if c.lower() in ALIKE and rng.random() < .6 else c for c in word)
        elif trick == 10:
            word = word[:j] + "\u200b" + word[j:]
        else:
            word = re.sub("[aeiou]", "*", word, count=rng.randint(1, 2))
        words[i] = word
    return " ".join(words)


_NAMES = {}
for _kind, _groups in GROUPS.items():
    for _group in _groups:
        for _form, _name in enumerate(_group):
            _NAMES.setdefault(_name, (_kind, _form))
_PATTERN = re.compile(r"\b(" + "|".join(sorted((re.escape(name) for name in _NAMES), key=len, reverse=True)) + r")\b", re.I)


def swapped(rng, text):
    """The same text about another group of the same kind, if it names exactly one by a plural or singular noun; otherwise None."""
    found = _PATTERN.findall(text)
    if len(found) != 1:
        return None
    kind, form = _NAMES[found[0].lower()]
    if kind in ("gender", "trans"):
        return None
    other = rng.choice(GROUPS[kind])[form]
    return None if other == found[0].lower() else _PATTERN.sub(other, text)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--json"]:
        # What the linear stage of a cascade learns besides the corpora (`moderato train --sentences`).
        made = list(synthetic(random.Random(11), everyday=24))
        lines = (json.dumps({"text": row["text"], "hate": int(row["hate"])}) + "\n" for row in made)
        Path(sys.argv[2]).write_text("".join(lines), encoding="utf-8")
        sys.exit()
    rng = random.Random(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
    rows = list(synthetic(random.Random(7)))
    held = re.compile(r"\b(" + "|".join(re.escape(term) for term in HELD_OUT) + r")\b", re.I)
    found = [row["text"] for row in rows if held.search(row["text"])]
    assert not found, f"{len(found)} sentences name a term that is held out: {found[:3]}"
    apart, told = kept_apart(), {bare(template) for line in (HATE + KIND).splitlines() for template in line.partition(": ")[2].split("|")}
    assert not [row for row in rows if bare(row["text"]) in apart], "a sentence stands in the behaviours or evasions"
    kept = json.loads((Path(__file__).resolve().parents[2] / "shared/scoring/behaviours/held_out.json").read_text(encoding="utf-8"))["templates"]
    assert not [template for template in kept if bare(template) in told], "a template is held out"
    print(len(rows), "sentences,", sum(row["hate"] for row in rows), "of them hateful; none names a term that is held out")
    for row in rng.sample(rows, 40):
        print(row["hate"], row["behaviour"], "|", row["text"])
