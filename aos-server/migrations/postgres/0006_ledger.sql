-- The account of model calls, and the budgets they are held to.

-- One row per call of a provider. What is not known of its cost is a range.
CREATE TABLE ledger (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant text NOT NULL,
    call text NOT NULL,
    at bigint NOT NULL,                 -- when it was reserved
    run text,
    workflow text,
    effect text,
    attempt bigint NOT NULL,            -- the effect's, from 1
    fallback bigint NOT NULL,           -- which call of the attempt, from 0
    adapter text NOT NULL,
    model text NOT NULL,                -- the one asked for
    api_key text,                       -- the name of the caller's key
    request bytea NOT NULL,             -- SHA-256
    bound bigint,                       -- the most it can cost; null when there is no price
    book bytea,                         -- the price book, a blob
    deadline bigint NOT NULL,           -- when its process counts as dead, should it still be open
    state text NOT NULL,                -- open, settled, unknown, refused, not_sent or cached
    settled_at bigint,
    answered text,                      -- the model that answered
    request_id text,                    -- the provider's name of the request
    input_tokens bigint,                -- neither read from the cache nor put into it; all tokens are null when not known
    output_tokens bigint,
    cache_read_tokens bigint,
    cache_write_tokens bigint,          -- kept for however long
    cache_write_1h_tokens bigint,       -- those of them that are kept for an hour
    cost_min bigint NOT NULL,
    cost_max bigint                     -- null when there is no price
);

CREATE UNIQUE INDEX ledger_by_call ON ledger (tenant, call);
CREATE INDEX ledger_by_time ON ledger (tenant, at);
CREATE INDEX ledger_by_run ON ledger (tenant, run, id) WHERE run IS NOT NULL;
CREATE INDEX ledger_open ON ledger (deadline) WHERE state = 'open';

CREATE TABLE budget (
    tenant text NOT NULL,
    scope text NOT NULL,                -- tenant, workflow:<id> or key:<id>
    period text NOT NULL,               -- day or total
    max bigint NOT NULL,
    PRIMARY KEY (tenant, scope, period)
);

-- What calls count under the budgets that are set. Who changes it holds the tenant's budgets.
CREATE TABLE budget_use (
    tenant text NOT NULL,
    scope text NOT NULL,
    period text NOT NULL,
    day bigint NOT NULL,                -- days since 1970 (UTC); 0 for all time
    spent numeric NOT NULL,             -- by calls that have ended
    reserved numeric NOT NULL,          -- for calls that are open
    PRIMARY KEY (tenant, scope, period, day)
) WITH (fillfactor = 50);

-- Whether a budget is for a call.
CREATE FUNCTION aos_budgeted(scope text, workflow text, api_key text) RETURNS boolean LANGUAGE sql IMMUTABLE
    AS $$ SELECT coalesce(scope IN ('tenant', 'workflow:' || workflow, 'key:' || api_key), false) $$;

-- Whoever writes the ledger begins with this: no budget is set until it is done, and nobody else changes what those of
-- these tenants have used. Says whether there are any.
CREATE FUNCTION aos_hold_budgets(of_tenants text[]) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    LOCK TABLE ledger IN ROW EXCLUSIVE MODE;
    PERFORM FROM budget WHERE tenant = ANY (of_tenants) ORDER BY tenant, scope, period FOR UPDATE;
    RETURN FOUND;
END $$;

-- Writes calls that are about to be made, and gives those that a budget has no room for, each with the first such budget.
-- A call that is there already has been written by an earlier try.
CREATE FUNCTION aos_reserve(calls jsonb)
RETURNS TABLE (refused_tenant text, refused_call text, of_scope text, of_period text, of_max bigint, of_spent numeric,
               of_reserved numeric, refused_at bigint)
LANGUAGE plpgsql AS $$
DECLARE
    now_at bigint;
    wanted record;
    refused text[] := '{}';
BEGIN
    IF aos_hold_budgets(ARRAY(SELECT DISTINCT value ->> 'tenant' FROM jsonb_array_elements(calls))) THEN
        now_at := aos_now();
        FOR wanted IN
            SELECT * FROM jsonb_to_recordset(calls)
                AS w(tenant text, call text, workflow text, api_key text, bound bigint, state text)
            WHERE state = 'open'
                AND NOT EXISTS (SELECT FROM ledger WHERE ledger.tenant = w.tenant AND ledger.call = w.call)
        LOOP
            SELECT budget.scope, budget.period, budget.max, coalesce(used.spent, 0), coalesce(used.reserved, 0)
            INTO of_scope, of_period, of_max, of_spent, of_reserved
            FROM budget LEFT JOIN budget_use AS used
                ON used.tenant = budget.tenant AND used.scope = budget.scope AND used.period = budget.period
                    AND used.day = CASE budget.period WHEN 'day' THEN now_at / 86400000 ELSE 0 END
            WHERE budget.tenant = wanted.tenant AND aos_budgeted(budget.scope, wanted.workflow, wanted.api_key)
                AND coalesce(coalesce(used.spent, 0) + coalesce(used.reserved, 0) + wanted.bound > budget.max, true)
            ORDER BY budget.scope COLLATE "C", budget.period COLLATE "C" LIMIT 1;
            IF FOUND THEN
                refused_tenant := wanted.tenant;
                refused_call := wanted.call;
                refused_at := now_at;
                refused := refused || (wanted.tenant || '/' || wanted.call);
                RETURN NEXT;
                CONTINUE;
            END IF;
            INSERT INTO budget_use AS used (tenant, scope, period, day, spent, reserved)
            SELECT budget.tenant, budget.scope, budget.period,
                   CASE budget.period WHEN 'day' THEN now_at / 86400000 ELSE 0 END, 0, wanted.bound
            FROM budget
            WHERE budget.tenant = wanted.tenant AND aos_budgeted(budget.scope, wanted.workflow, wanted.api_key)
            ON CONFLICT (tenant, scope, period, day) DO UPDATE SET reserved = used.reserved + wanted.bound;
        END LOOP;
    ELSE
        now_at := aos_now();
    END IF;
    INSERT INTO ledger (tenant, call, at, run, workflow, effect, attempt, fallback, adapter, model, api_key, request,
                        bound, book, deadline, state, cost_min, cost_max)
    SELECT w.tenant, w.call, now_at, w.run, w.workflow, w.effect, w.attempt, w.fallback, w.adapter, w.model, w.api_key,
           decode(w.request, 'hex'), w.bound, decode(w.book, 'hex'), now_at + w.patience, w.state, 0, w.cost_max
    FROM jsonb_to_recordset(calls)
        AS w(tenant text, call text, run text, workflow text, effect text, attempt bigint, fallback bigint, adapter text,
             model text, api_key text, request text, bound bigint, book text, patience bigint, state text,
             cost_max bigint)
    WHERE w.tenant || '/' || w.call <> ALL (refused)
    ON CONFLICT DO NOTHING;
END $$;

-- Writes what is known of calls, of those whose state is one of `of_states`; gives how many it has changed.
CREATE FUNCTION aos_settle(calls jsonb, of_states text[]) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    changed bigint;
BEGIN
    PERFORM aos_hold_budgets(ARRAY(SELECT DISTINCT value ->> 'tenant' FROM jsonb_array_elements(calls)));
    WITH wanted AS MATERIALIZED (
        SELECT * FROM jsonb_to_recordset(calls)
            AS w(tenant text, call text, state text, answered text, request_id text, input_tokens bigint,
                 output_tokens bigint, cache_read_tokens bigint, cache_write_tokens bigint,
                 cache_write_1h_tokens bigint, cost_min bigint, cost_max bigint)
    ), before AS MATERIALIZED (
        SELECT ledger.id, ledger.state, coalesce(ledger.cost_max, ledger.bound, 0) AS counts
        FROM ledger JOIN wanted USING (tenant, call)
        WHERE ledger.state = ANY (of_states) ORDER BY ledger.id FOR UPDATE OF ledger
    ), settled AS (
        UPDATE ledger
        SET state = wanted.state, settled_at = aos_now(), answered = wanted.answered, request_id = wanted.request_id,
            input_tokens = wanted.input_tokens, output_tokens = wanted.output_tokens,
            cache_read_tokens = wanted.cache_read_tokens, cache_write_tokens = wanted.cache_write_tokens,
            cache_write_1h_tokens = wanted.cache_write_1h_tokens, cost_min = wanted.cost_min,
            -- Nobody knows: up to what was reserved, unless there was no price.
            cost_max = CASE WHEN wanted.state <> 'unknown' THEN wanted.cost_max
                            WHEN ledger.bound IS NOT NULL THEN greatest(ledger.bound, wanted.cost_min) END
        FROM before, wanted
        WHERE ledger.id = before.id AND ledger.tenant = wanted.tenant AND ledger.call = wanted.call
        RETURNING ledger.tenant, ledger.workflow, ledger.api_key, ledger.at, before.state = 'open' AS was_open,
                  before.counts AS counted, coalesce(ledger.cost_max, ledger.bound, 0) AS counts
    ), change AS (
        SELECT budget.tenant, budget.scope, budget.period,
               CASE budget.period WHEN 'day' THEN settled.at / 86400000 ELSE 0 END AS day,
               sum(counts - CASE WHEN was_open THEN 0 ELSE counted END) AS spent,
               sum(CASE WHEN was_open THEN counted ELSE 0 END) AS reserved
        FROM settled JOIN budget
            ON budget.tenant = settled.tenant AND aos_budgeted(budget.scope, settled.workflow, settled.api_key)
        GROUP BY 1, 2, 3, 4
    ), counted AS (
        UPDATE budget_use AS used SET spent = used.spent + change.spent, reserved = used.reserved - change.reserved
        FROM change
        WHERE used.tenant = change.tenant AND used.scope = change.scope AND used.period = change.period
            AND used.day = change.day
    )
    SELECT count(*) INTO changed FROM settled;
    RETURN changed;
END $$;

-- Sets, changes or, by null, lifts a budget; says whether there was one.
CREATE FUNCTION aos_set_budget(of_tenant text, of_scope text, of_period text, new_max bigint) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    was boolean;
    today bigint;
BEGIN
    IF new_max IS NULL THEN
        DELETE FROM budget WHERE tenant = of_tenant AND scope = of_scope AND period = of_period;
        was := FOUND;
        DELETE FROM budget_use WHERE tenant = of_tenant AND scope = of_scope AND period = of_period;
        RETURN was;
    END IF;
    UPDATE budget SET max = new_max WHERE tenant = of_tenant AND scope = of_scope AND period = of_period;
    IF FOUND THEN
        RETURN true;
    END IF;
    -- Whoever writes the ledger has done so, or waits until this is done, and then finds the budget.
    LOCK TABLE ledger IN SHARE ROW EXCLUSIVE MODE;
    INSERT INTO budget (tenant, scope, period, max) VALUES (of_tenant, of_scope, of_period, new_max)
    ON CONFLICT (tenant, scope, period) DO UPDATE SET max = new_max;
    today := CASE of_period WHEN 'day' THEN aos_now() / 86400000 ELSE 0 END;
    INSERT INTO budget_use (tenant, scope, period, day, spent, reserved)
    SELECT of_tenant, of_scope, of_period, today,
           coalesce(sum(coalesce(cost_max, bound, 0)) FILTER (WHERE state <> 'open'), 0),
           coalesce(sum(coalesce(cost_max, bound, 0)) FILTER (WHERE state = 'open'), 0)
    FROM ledger WHERE tenant = of_tenant AND at >= today * 86400000 AND aos_budgeted(of_scope, workflow, api_key)
    ON CONFLICT (tenant, scope, period, day) DO UPDATE SET spent = EXCLUDED.spent, reserved = EXCLUDED.reserved;
    RETURN false;
END $$;
