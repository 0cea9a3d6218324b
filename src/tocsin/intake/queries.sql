-- name: now
select now();

-- name: insert_notification
insert into intake.notifications (app_id, notification_id, accepted_at, expires_at, target, options)
values ($1, $2, $3, $4, $5, $6);

-- name: find_notification
select accepted_at, expires_at, target, options from intake.notifications
where app_id = $1 and notification_id = $2;
