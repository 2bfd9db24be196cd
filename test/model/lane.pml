/*
 * lane.pml: what extension/shared does with a lane: lane_table.c, floor.c, ready_lanes.c. A part of floor.pml.
 */

byte generation; /* last one given to any lane */

bool entry; /* whether the lane has one; what follows stands in it */
byte floor;
byte view[2]; /* floors for the workers of a filter; LOWEST: none */
byte known;   /* the floor as the order of the lanes knows it; HIGHEST: no checkout comes by */

bool complete; /* a lane without an entry has nothing to claim */
byte missed;   /* how often something became claimable in a lane without an entry */

/* Lowerings, oldest first, so with keys that grow; one more while the oldest two become one. */
byte lowered_at[LOWERINGS + 1]; /* generation */
byte lowered_to[LOWERINGS + 1]; /* key */
byte lowerings;

byte hold = HIGHEST; /* key of the hold */

hidden byte limit_; /* of raise() */

inline remember(at, key)
{
    /* whoever asks for those with higher keys must hear of this one, too */
    do
    :: lowerings > 0 && lowered_to[lowerings - 1] >= key ->
        lowerings--;
        lowered_at[lowerings] = 0;
        lowered_to[lowerings] = 0
    :: else -> break
    od;
    lowered_at[lowerings] = at;
    lowered_to[lowerings] = key;
    lowerings++;
    if
    :: lowerings > LOWERINGS ->
        lowered_at[0] = (rule(THINNED_TO_LATER) -> lowered_at[1] : lowered_at[0]);
        lowered_to[0] = (rule(THINNED_TO_LOWER) -> lowered_to[0] : lowered_to[1]);
        lowerings--;
        i_ = 1;
        do
        :: i_ <= LOWERINGS ->
            lowered_at[i_] = (i_ < LOWERINGS -> lowered_at[i_ + 1] : 0);
            lowered_to[i_] = (i_ < LOWERINGS -> lowered_to[i_ + 1] : 0);
            i_++
        :: else -> break
        od
    :: else
    fi
}

/* Tells the order of the lanes where the floor is. */
inline settle()
{
    known = (entry -> floor : LOWEST)
}

/* Something may be claimable in the lane, which has no entry. */
inline miss()
{
    missed++;
    complete = false
}

inline lower_drawn(at, key)
{
    if
    :: entry ->
        if
        :: !rule(LOWERED_FROM_BELOW) && key > floor && key > view[A] && key > view[B]
        :: else -> remember(at, key)
        fi;
        floor = min(floor, key);
        if
        :: rule(VIEWS_LOWERED) ->
            view[A] = min(view[A], key);
            view[B] = min(view[B], key)
        :: else
        fi
    :: !entry && rule(MISSED_IS_NOTED) -> miss()
    :: else
    fi
}

/* A job with that key can be claimed. */
inline lower(key)
{
    generation++;
    lower_drawn(generation, key)
}

inline make_entry()
{
    entry = true;
    generation++;
    lowered_at[0] = (rule(NEW_ENTRY_HOLDS_UP) -> generation : 0);
    lowered_to[0] = LOWEST;
    lowerings = 1;
    known = LOWEST
}

inline evict()
{
    entry = false;
    known = LOWEST;
    floor = LOWEST;
    view[A] = LOWEST;
    view[B] = LOWEST;
    for (i_ : 0 .. LOWERINGS) {
        lowered_at[i_] = 0;
        lowered_to[i_] = 0
    }
    lowerings = 0
}

/* The filter's scan from that key examined everything below reached; it passed over jobs for others, of which the
 * first is at others, and locked ones, of which the first is at busy. */
inline raise(filter, noted, from, reached, others, busy)
{
    if
    :: entry ->
        limit_ = min(reached, busy);
        limit_ = (rule(HOLD_HOLDS_UP) -> min(limit_, hold) : limit_);
        /* the first is the lowest */
        for (i_ : 0 .. LOWERINGS - 1) {
            if
            :: rule(LOWERED_HOLDS_UP) && i_ < lowerings && lowered_at[i_] > noted ->
                limit_ = min(limit_, lowered_to[i_]);
                break
            :: else
            fi
        }
        if
        :: from <= floor || !rule(RAISED_FROM_BELOW) -> floor = max(floor, min(limit_, others))
        :: else
        fi;
        if
        :: from <= max(floor, view[filter]) || !rule(RAISED_FROM_BELOW) -> view[filter] = max(view[filter], limit_)
        :: else
        fi
    :: else
    fi
}

inline sweep_begins()
{
    if
    :: entry ->
        if
        :: rule(SWEEP_HOLDS_UP) -> generation++; remember(generation, LOWEST)
        :: else
        fi;
        if
        :: rule(SWEEP_ENDS_VIEWS) -> view[A] = LOWEST; view[B] = LOWEST
        :: else
        fi
    :: else
    fi
}
